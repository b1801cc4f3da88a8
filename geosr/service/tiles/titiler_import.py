"""titiler and rio-tiler without what they do with xarray's datasets, which nothing here asks of them.

Of that come pandas, xarray and Dask's arrays, which take longer to load than all else that a service imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _not_there(*names: str) -> Iterator[None]:
    """Packages that are not loaded yet cannot be imported meanwhile."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# Both are optional to rio-tiler.
with _not_there("xarray", "rioxarray"):
    from rio_tiler.colormap import cmap
    from rio_tiler.errors import PointOutsideBounds, RioTilerError, TileOutsideBounds
    from titiler.core.dependencies import BidxExprParams, DefaultDependency, HistogramParams, PreviewParams
    from titiler.core.factory import TilerFactory

__all__ = [
    "BidxExprParams",
    "DefaultDependency",
    "HistogramParams",
    "PointOutsideBounds",
    "PreviewParams",
    "RioTilerError",
    "TileOutsideBounds",
    "TilerFactory",
    "cmap",
]
