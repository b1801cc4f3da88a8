"""Bounds on an upscaled image: what the sensor could have hidden in the neighbourhood of each source pixel.

A network extrapolates; without bounds, roofs come out brighter than anything the source holds, and shadows at the
lowest DN. Each pixel stays within the range of the source pixels around it, extended by a share of its ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.engine.rows import Rows, in_strips
from geosr.model.kernels import PLAUSIBLE_REACH_PX as REACH_PX
from geosr.model.kernels import UNDERSHOOT


@dataclass(frozen=True)
class BoundedRows:
    """Rows of an image, clipped to the bounds of their source pixels."""

    rows: Rows
    low: NDArray[np.float32]
    """``(bands, rows, cols)``, in the units of the image."""
    high: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(bands, scale * scale, rows, cols)``."""
        return self.rows.shape

    def __call__(self, first: int, stop: int) -> NDArray[np.float32]:
        """Clip some rows, in the memory that they are in."""
        image = self.rows(first, stop)
        low, high = (bound[:, None, first:stop] for bound in (self.low, self.high))
        np.maximum(image, low, out=image)
        np.minimum(image, high, out=image)
        return image


def plausible_range(
    lr: NDArray[np.float32], margin_px: int, overshoot: float, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest plausible value of each source pixel's block.

    Parameters
    ----------
    lr
        The source ``(bands, rows, cols)`` with a margin; any unit whose zero is no reflectance.
    margin_px
        Margin of ``lr``, source pixels; beyond the image its edge repeats.
    overshoot
        Share of the neighbourhood's largest value by which a pixel may lie above it; how far below the smallest is
        :data:`geosr.model.kernels.UNDERSHOOT`.
    threads
        Threads that share the work.

    Returns
    -------
    low, high
        Two arrays ``(bands, rows, cols)`` without the margin.
    """
    spare = REACH_PX - margin_px
    if spare > 0:
        lr = np.pad(lr, ((0, 0), (spare, spare), (spare, spare)), mode="edge")
        margin_px = REACH_PX
    outer = margin_px - REACH_PX
    around = lr[:, outer : lr.shape[1] - outer, outer : lr.shape[2] - outer]
    bands, rows, cols = (around.shape[0], around.shape[1] - 2 * REACH_PX, around.shape[2] - 2 * REACH_PX)
    low, high = (np.empty((bands, rows, cols), np.float32) for _ in range(2))

    def some(strip: slice) -> None:
        part = around[:, strip.start : strip.stop + 2 * REACH_PX]
        for extreme, sign, out in ((np.minimum, -UNDERSHOOT, low), (np.maximum, overshoot, high)):
            found = _extreme_of_seven(_extreme_of_seven(part, extreme, 1), extreme, 2)
            out[:, strip] = found + sign * np.abs(found)

    in_strips(rows, threads, some, 32)
    return low, high


def _extreme_of_seven(image: NDArray[np.float32], extreme: np.ufunc, axis: int) -> NDArray[np.float32]:
    """Sliding extreme of ``2 REACH_PX + 1`` values along an axis, which becomes shorter by six."""
    for step in (1, 2, 3):
        before, after = ((slice(None),) * axis + (part,) for part in (slice(None, -step), slice(step, None)))
        image = extreme(image[before], image[after])
    return image
