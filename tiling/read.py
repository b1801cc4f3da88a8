"""Windows that reach beyond the image: reading with reflection at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo import Shape2d
from rasterio.windows import Window

Arrays = TypeVar("Arrays", bound=tuple[NDArray[np.generic], ...])


def read_reflected(read: Callable[[Window], Arrays], window: Window, shape: Shape2d) -> Arrays:
    """Read a window of an image of ``shape``; pixels beyond its edges mirror those inside.

    ``read`` takes a window inside the image and returns arrays ``(…, rows, cols)``, all of which are mirrored alike.
    It is called once, for the smallest window that holds every pixel needed. The edge pixel itself is not repeated,
    so a line of one pixel is that pixel everywhere. What a pixel beyond the edge holds does not depend on the window.
    """
    rows = _reflect(np.arange(window.row_off, window.row_off + window.height), shape.y)
    cols = _reflect(np.arange(window.col_off, window.col_off + window.width), shape.x)
    top, left = int(rows.min()), int(cols.min())
    inside = Window(left, top, int(cols.max()) + 1 - left, int(rows.max()) + 1 - top)
    index = np.ix_(rows - top, cols - left)
    return tuple(array[..., index[0], index[1]] for array in read(inside))  # type: ignore[return-value]


def _reflect(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Fold positions on an infinite line into ``0 … size - 1``, as a mirror at each end pixel's centre does."""
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    folded = positions % period
    return np.minimum(folded, period - folded)
