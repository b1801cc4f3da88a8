"""Samples of a scene's pixels, from which pictures are stretched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

#: Squares along each side of an area, and their side, pixels.
_ALONG = 5
_SIDE_PX = 96


def percentiles(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Two percentiles of the values that are finite, the second above the first; 0 and 1 without any."""
    known = values[np.isfinite(values)]
    dark, bright = np.percentile(known, (low, high)) if len(known) else (0.0, 1.0)
    return float(dark), float(max(bright, dark + 1e-4))


def squares(area: Window) -> list[Window]:
    """Squares all over an area; all of a small one."""
    if max(area.height, area.width) <= _ALONG * _SIDE_PX:
        return [area]
    height, width = min(area.height, _SIDE_PX), min(area.width, _SIDE_PX)
    tops, lefts = (
        start + np.linspace(0, size - side, _ALONG).astype(int)
        for start, size, side in ((area.row_off, area.height, height), (area.col_off, area.width, width))
    )
    return [Window(int(left), int(top), width, height) for top in tops for left in lefts]
