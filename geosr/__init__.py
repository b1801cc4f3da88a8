"""Super-resolution of satellite imagery: ``geosr.upscale(da)``, and the command ``geosr``."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

if TYPE_CHECKING:
    from geosr.arrays.upscale import upscale

__all__ = ["upscale"]


@when_imported("xarray")
def _add_accessor(_: ModuleType) -> None:
    """``da.geosr`` is there wherever arrays are; the command, which needs none, need not wait for their library."""
    import geosr.arrays.accessor  # noqa: F401


def __getattr__(name: str) -> Any:
    """Load the interface when it is first used: the network's libraries take seconds to import."""
    if name == "upscale":
        from geosr.arrays.upscale import upscale

        return upscale
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
