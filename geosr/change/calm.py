"""Differences at the product's pixels that are as calm as at the source's where nothing changed.

Detail finer than the source's pixels is partly estimated, and differs between two dates where the ground does not. The
source's pixels tell the difference without it. So the difference is that of the source's pixels, interpolated, and its
finer part counts only where it exceeds what the errors of both dates allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geosr.change.extent import SEED_HALF_WIDTHS
from geosr.change.grid import Grid

#: Bands of a map of differences, and what each holds of the index.
BANDS = {
    "difference": "after minus before, without detail below the errors of both dates",
    "half-width": "half-width of the measured difference where nothing changed",
    "measured-difference": "after minus before, as measured",
}

#: Number of the band of measured differences, from 1.
MEASURED_BAND = 3

#: Half-widths over which the finer part comes in; half of it counts where it is as large as that of a seed of change.
_RAMP_HALF_WIDTHS = 1.0

#: Source pixels around a window that interpolation needs.
_MARGIN_PX = 1

#: Bins of absolute differences of an index, from 0 to 2.
_BINS = 40_000


@dataclass(frozen=True)
class CalmDifference:
    """Difference of the source's pixels, with finer detail where the errors of both dates leave it."""

    source: Grid
    centre: float
    """Offset of the product's differences, which is taken off those of the source too."""
    scale: int
    """Pixels of the product along a side of one of the source."""

    def of(self, window: Window, index: NDArray[np.floating], half_width: NDArray[np.floating]) -> NDArray[np.floating]:
        """Calm the differences of a window of the product.

        Parameters
        ----------
        window
            Window of the product's grid.
        index
            Difference of the index, ``(rows, cols)``, NaN where there is none.
        half_width
            Its half-width where nothing changed.

        Returns
        -------
        array
            ``(rows, cols)``, NaN where ``index`` is.
        """
        coarse = self._interpolated(window)
        # Without a source's pixel there is nothing to be calmer than.
        coarse = np.where(np.isnan(coarse), index, coarse)
        finer = index - coarse
        least = SEED_HALF_WIDTHS - _RAMP_HALF_WIDTHS / 2
        share = np.clip((np.abs(finer) / np.maximum(half_width, 1e-9) - least) / _RAMP_HALF_WIDTHS, 0, 1)
        calm: NDArray[np.floating] = (coarse + share * finer).astype(index.dtype)
        return calm

    def _interpolated(self, window: Window) -> NDArray[np.floating]:
        """The source's differences at the product's pixels, NaN where there are none."""
        rows, cols = self.source.size
        top, left = (max(0, int(start) // self.scale - _MARGIN_PX) for start in (window.row_off, window.col_off))
        bottom = min(rows, math.ceil((window.row_off + window.height) / self.scale) + _MARGIN_PX)
        right = min(cols, math.ceil((window.col_off + window.width) / self.scale) + _MARGIN_PX)
        coarse = self.source.difference(Window(left, top, right - left, bottom - top)).index - self.centre
        known = np.isfinite(coarse).astype(np.float32)
        values, weights = (
            ndimage.zoom(one, self.scale, order=1, mode="nearest", grid_mode=True)
            for one in (np.nan_to_num(coarse), known)
        )
        made: NDArray[np.floating] = np.where(weights > 0, values / np.maximum(weights, 1e-6), np.nan)
        row, col = window.row_off - top * self.scale, window.col_off - left * self.scale
        return made[row : row + window.height, col : col + window.width]


@dataclass
class MedianSize:
    """Median of absolute differences of an index that come in parts."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, differences: NDArray[np.floating]) -> None:
        """Count finite differences."""
        bins = (np.abs(differences) * (_BINS / 2)).astype(np.int64).clip(0, _BINS - 1)
        self.counts += np.bincount(bins, minlength=_BINS)

    @property
    def value(self) -> float:
        """The median, to a part of the bins; 0 without any difference."""
        total = int(self.counts.sum())
        if not total:
            return 0.0
        below = int(np.searchsorted(np.cumsum(self.counts), total / 2))
        return (below + 0.5) * 2 / _BINS
