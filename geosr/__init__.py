"""Super-resolution of satellite imagery: ``geosr.upscale(da)``, and the command ``geosr``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import xarray as _xr

if TYPE_CHECKING:
    from geosr.api import upscale

__all__ = ["upscale"]


@_xr.register_dataarray_accessor("geosr")  # type: ignore[no-untyped-call]
class GeosrAccessor:
    """``da.geosr.upscale()``."""

    def __init__(self, da: _xr.DataArray) -> None:
        self._da = da

    @overload
    def upscale(self, *args: Any, uncertainty: Literal[False] = False, **options: Any) -> _xr.DataArray: ...

    @overload
    def upscale(self, *args: Any, uncertainty: Literal[True], **options: Any) -> _xr.Dataset: ...

    def upscale(self, *args: Any, **options: Any) -> _xr.DataArray | _xr.Dataset:
        """As :func:`geosr.upscale`, of this array."""
        from geosr.api import upscale

        result: _xr.DataArray | _xr.Dataset = upscale(self._da, *args, **options)
        return result


def __getattr__(name: str) -> Any:
    """Load the interface when it is first used: the network's libraries take seconds to import."""
    if name == "upscale":
        from geosr.api import upscale

        return upscale
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
