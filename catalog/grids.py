"""One grid for bands of several sampling distances: the finest, on which a coarse band's pixels are repeated.

Repeating keeps every DN as it was measured; whoever needs a coarse band's own pixels takes each block's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

#: Fraction of a pixel by which corners may differ: what is lost when numbers are written as text.
_TOLERANCE_PX = 1e-3


def finest(grids: Sequence[GeoBox]) -> tuple[GeoBox, tuple[int, ...]]:
    """The finest of these grids, and how many of its pixels each one's span along an axis.

    Raises ``ValueError`` unless all have the same corners and spans are whole.
    """
    best = min(grids, key=lambda grid: abs(grid.resolution.x))
    return best, tuple(_span(grid, best) for grid in grids)


def repeated_window(window: Window, span: int) -> tuple[Window, tuple[slice, slice]]:
    """The pixels of a grid ``span`` times coarser that a window touches, and the window inside them once repeated."""
    top, left = window.row_off // span, window.col_off // span
    bottom, right = -(-(window.row_off + window.height) // span), -(-(window.col_off + window.width) // span)
    y, x = window.row_off - top * span, window.col_off - left * span
    inside = slice(y, y + window.height), slice(x, x + window.width)
    return Window(left, top, right - left, bottom - top), inside


def repeat(pixels: NDArray[Any], span: int) -> NDArray[Any]:
    """Each pixel of ``(..., rows, cols)`` as a block of ``span × span``."""
    return pixels if span == 1 else np.asarray(pixels.repeat(span, axis=-2).repeat(span, axis=-1))


def _span(grid: GeoBox, best: GeoBox) -> int:
    ratio = grid.resolution.x / best.resolution.x
    span = max(1, round(ratio))
    col, row = (~best.affine) * (grid.affine.c, grid.affine.f)
    fits = (
        grid.crs == best.crs
        and abs(ratio - span) < _TOLERANCE_PX / max(grid.shape)
        and abs(grid.resolution.y / best.resolution.y - span) < _TOLERANCE_PX / max(grid.shape)
        and max(abs(col), abs(row)) < _TOLERANCE_PX
        and (grid.shape.y * span, grid.shape.x * span) == tuple(best.shape)
    )
    if not fits:
        raise ValueError("different grids, with other corners or pixels that are no whole multiple of the finest")
    return span
