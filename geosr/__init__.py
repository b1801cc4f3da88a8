"""Super-resolution of satellite imagery: ``geosr.upscale(data)``, ``geosr.fuse(series)`` and the command ``geosr``."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

if TYPE_CHECKING:
    from geosr.arrays.fuse import fuse
    from geosr.arrays.upscale import upscale

    __version__: str

__all__ = ["__version__", "fuse", "upscale"]


@when_imported("xarray")
def _add_accessor(_: ModuleType) -> None:
    """Register ``da.geosr`` and ``ds.geosr`` when xarray is imported.

    The command, which needs no arrays, never imports xarray.
    """
    import geosr.arrays.accessor  # noqa: F401


def __getattr__(name: str) -> Any:
    """Import the interface on first use: PyTorch and xarray take seconds to import."""
    if name == "upscale":
        from geosr.arrays.upscale import upscale

        return upscale
    if name == "fuse":
        from geosr.arrays.fuse import fuse

        return fuse
    if name == "__version__":
        from geosr.version import VERSION

        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
