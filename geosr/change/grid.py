"""Two dates on one grid, in windows: their differences, and the levels that these are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.windows import Window

from geosr.change.dates import Reader
from geosr.change.extent import Difference
from geosr.change.indices import SpectralIndex
from geosr.change.levels import Levels, measure_levels

#: Side of the windows that are computed at once, pixels.
_WINDOW_PX = 2048

#: Of a window's pixels, every so many along each axis are sampled for the levels.
_SAMPLE_STEP = 7

#: Differences and half-widths as they are.
_RAW = Levels(0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Grid:
    """Two dates on one grid, and what their differences are held against."""

    index: SpectralIndex
    before: Reader
    after: Reader
    widths: tuple[Reader, Reader] | None
    """Half-widths of both dates; None on the sources' grid, where unchanged ground alone tells."""
    size: tuple[int, int]
    transform: Any
    crs: Any
    pixel_m: float
    pixel_hectares: float
    reach_px: int
    flat_width: float = 1.0
    """Half-width of the index's difference, at most, where the dates have none of their own."""

    def windows(self) -> Iterator[Window]:
        """Windows that cover the grid."""
        rows, cols = self.size
        for top in range(0, rows, _WINDOW_PX):
            for left in range(0, cols, _WINDOW_PX):
                yield Window(left, top, min(_WINDOW_PX, cols - left), min(_WINDOW_PX, rows - top))

    def around(self, window: Window) -> tuple[Window, tuple[slice, slice]]:
        """Window with its reach, and the place of the window in that."""
        reach = 2 * self.reach_px
        top, left = max(0, window.row_off - reach), max(0, window.col_off - reach)
        bottom = min(self.size[0], window.row_off + window.height + reach)
        right = min(self.size[1], window.col_off + window.width + reach)
        rows = slice(window.row_off - top, window.row_off - top + window.height)
        cols = slice(window.col_off - left, window.col_off - left + window.width)
        return Window(left, top, right - left, bottom - top), (rows, cols)

    def difference(self, window: Window, levels: Levels = _RAW, edge: float = 0.0) -> Difference:
        """Difference of the dates in a window; ``edge`` is the half-width of reflectance where a date has none."""
        before, seen_before = self.before.read(window)
        after, seen_after = self.after.read(window)
        known = seen_before & seen_after
        index = self.index.of(after) - self.index.of(before) - levels.centre
        if self.widths is None:
            width, step_width = np.full_like(index, self.flat_width), np.full_like(index, edge)
        else:
            widths = [reader.read(window)[0] for reader in self.widths]
            width = np.hypot(self.index.half_width(before, widths[0]), self.index.half_width(after, widths[1]))
            step_width = levels.factor * np.sqrt((np.stack(widths) ** 2).sum(axis=(0, 1)))
        index[~known] = np.nan
        return Difference(index, (levels.factor * width).astype(np.float32), before, after, step_width)

    def levels(self) -> tuple[Levels, float]:
        """Levels of the index's difference, and the typical half-width of the reflectance's where there is no other."""
        samples, steps = [], []
        for window in self.windows():
            difference = self.difference(window)
            kept = (slice(None, None, _SAMPLE_STEP), slice(None, None, _SAMPLE_STEP))
            step = np.hypot(*(difference.after - difference.before))
            index, width, step = (one[kept] for one in (difference.index, difference.half_width, step))
            known = np.isfinite(index)
            samples.append((index[known], width[known]))
            steps.append(step[known])
        levels = measure_levels(samples)
        edge = 1.5 * float(np.median(np.concatenate(steps))) if any(len(one) for one in steps) else 0.0
        return levels, edge
