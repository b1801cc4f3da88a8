"""Two dates on one grid, in windows: their differences, and the levels that these are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.windows import Window

from geosr.change.dates import Reader
from geosr.change.extent import REACHES, Difference, find_seeds
from geosr.change.indices import SpectralIndex
from geosr.change.levels import Levels, measure_levels
from geosr.errors import UsageError

#: Side of the windows that are computed at once, pixels.
_WINDOW_PX = 2048

#: Windows that the levels are measured in: most along each axis, their side, and the step between pixels taken.
_SAMPLED_WINDOWS, _SAMPLED_PX, _SAMPLE_STEP = 8, 512, 3

#: Half-width of a difference of reflectance, of the median of all.
_EDGE_OF_MEDIAN = 1.5

#: Differences and half-widths as they are.
_RAW = Levels(0.0, 1.0)


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
        reach = REACHES * self.reach_px
        top, left = max(0, window.row_off - reach), max(0, window.col_off - reach)
        bottom = min(self.size[0], window.row_off + window.height + reach)
        right = min(self.size[1], window.col_off + window.width + reach)
        rows = slice(window.row_off - top, window.row_off - top + window.height)
        cols = slice(window.col_off - left, window.col_off - left + window.width)
        return Window(left, top, right - left, bottom - top), (rows, cols)

    def difference(self, window: Window, levels: Levels = _RAW) -> Difference:
        """Difference of the dates in a window, held against the levels."""
        before, seen_before = self.before.read(window)
        after, seen_after = self.after.read(window)
        first, second = self.index.of(before), self.index.of(after)
        index = second - first - levels.centre
        if self.widths is None:
            width, step_width = np.full_like(index, self.flat_width), np.full_like(index, levels.edge)
        else:
            widths = [reader.read(window)[0] for reader in self.widths]
            width = np.hypot(self.index.half_width(before, widths[0]), self.index.half_width(after, widths[1]))
            step_width = levels.factor * np.sqrt((np.stack(widths) ** 2).sum(axis=(0, 1)))
        index[~(seen_before & seen_after)] = np.nan
        half_width = (levels.factor * width).astype(np.float32)
        crossed, stayed = self.index.crossed(first, second), self.index.stayed(first, second)
        return Difference(index, half_width, before, after, step_width, crossed, stayed)

    def _sampled(self) -> Iterator[Window]:
        """Windows spread over the grid; no more than it takes to cover it."""
        starts = [
            np.linspace(0, max(0, length - _SAMPLED_PX), min(_SAMPLED_WINDOWS, math.ceil(length / _SAMPLED_PX)))
            for length in self.size
        ]
        for top in starts[0]:
            for left in starts[1]:
                height, width = min(_SAMPLED_PX, self.size[0]), min(_SAMPLED_PX, self.size[1])
                yield Window(int(left), int(top), width, height)

    def levels(self, least: float) -> Levels:
        """Measure the levels in windows spread over the grid; ``least`` is the smallest difference that counts.

        Raises :class:`UsageError` where the dates have no pixel in common.
        """
        sampled = []
        for window in self._sampled():
            difference = self.difference(window)
            known = np.isfinite(difference.index[::_SAMPLE_STEP, ::_SAMPLE_STEP])
            parts = (
                *(difference.index, difference.half_width),
                *(*difference.before, *difference.after),
                *difference.crossed,
            )
            sampled.append(np.stack([one[::_SAMPLE_STEP, ::_SAMPLE_STEP][known] for one in parts]))
        index, width, *others = np.concatenate(sampled, axis=1)
        if not index.size:
            raise UsageError("no pixel was measured on both dates: choose dates, or an area, with common ground")
        before, after = np.stack(others[:2]), np.stack(others[2:4])
        crossed = [one > 0 for one in others[4:]]
        found = measure_levels(index, width)
        later = [
            not seeds.any() or bool(after[:, seeds].std(axis=1).sum() <= before[:, seeds].std(axis=1).sum())
            for seeds in find_seeds(index - found.centre, found.factor * width, crossed, least)
        ]
        edge = _EDGE_OF_MEDIAN * float(np.median(np.hypot(*(after - before))))
        return replace(found, edge=edge, shown_later=(later[0], later[1]))
