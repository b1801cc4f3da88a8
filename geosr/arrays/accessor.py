"""``da.geosr`` and ``ds.geosr``, on every DataArray and Dataset of xarray's."""

from __future__ import annotations

from typing import Any, Literal, overload

import xarray as xr


@xr.register_dataarray_accessor("geosr")  # type: ignore[no-untyped-call]
class GeosrAccessor:
    """``da.geosr.upscale()``."""

    def __init__(self, da: xr.DataArray) -> None:
        self._da = da

    @overload
    def upscale(self, *args: Any, uncertainty: Literal[False] = False, **options: Any) -> xr.DataArray: ...

    @overload
    def upscale(self, *args: Any, uncertainty: Literal[True], **options: Any) -> xr.Dataset: ...

    @overload
    def upscale(self, *args: Any, uncertainty: bool, **options: Any) -> xr.DataArray | xr.Dataset: ...

    def upscale(self, *args: Any, **options: Any) -> xr.DataArray | xr.Dataset:
        """Super-resolve this array, see :func:`geosr.upscale`."""
        from geosr.arrays.upscale import upscale

        result: xr.DataArray | xr.Dataset = upscale(self._da, *args, **options)
        return result

    def fuse(self, *args: Any, **options: Any) -> xr.DataArray | xr.Dataset:
        """Make one image of this array's dates, see :func:`geosr.fuse`."""
        from geosr.arrays.fuse import fuse

        made: xr.DataArray | xr.Dataset = fuse(self._da, *args, **options)
        return made


@xr.register_dataset_accessor("geosr")  # type: ignore[no-untyped-call]
class GeosrDatasetAccessor:
    """``ds.geosr.upscale()``."""

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def upscale(self, *args: Any, **options: Any) -> xr.Dataset:
        """Super-resolve this Dataset, see :func:`geosr.upscale`."""
        from geosr.arrays.upscale import upscale

        return upscale(self._ds, *args, **options)
