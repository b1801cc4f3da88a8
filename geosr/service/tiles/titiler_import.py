"""titiler and rio-tiler without xarray's datasets, see :func:`geosr.hardware.without_modules`."""

from __future__ import annotations

from geosr.hardware import without_modules

# Both are optional to rio-tiler.
with without_modules("xarray", "rioxarray"):
    from rio_tiler.colormap import cmap
    from rio_tiler.errors import PointOutsideBounds, RioTilerError, TileOutsideBounds
    from rio_tiler.io import Reader
    from titiler.core.dependencies import (
        BidxExprParams,
        ColorMapParams,
        DefaultDependency,
        HistogramParams,
        PreviewParams,
    )
    from titiler.core.factory import TilerFactory

__all__ = [
    "BidxExprParams",
    "ColorMapParams",
    "DefaultDependency",
    "HistogramParams",
    "PointOutsideBounds",
    "PreviewParams",
    "Reader",
    "RioTilerError",
    "TileOutsideBounds",
    "TilerFactory",
    "cmap",
]
