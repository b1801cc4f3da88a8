"""Filling of pixels that were not measured, before they reach a convolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def fill_invalid(pixels: NDArray[np.float32], valid: NDArray[np.bool_], reach_px: int) -> NDArray[np.float32]:
    """Replace each invalid pixel by the mean of the nearest valid ones, band by band.

    A pixel takes the mean of the smallest square of radius 1, 2, 4, 8 … ``reach_px`` around it that contains a valid
    pixel. If none does, it takes the mean of the bands measured at its own place, or zero. No value depends on pixels
    farther than ``reach_px``, so windows that overlap by as much agree.

    Parameters
    ----------
    pixels
        ``(bands, rows, cols)``; invalid pixels may have any value, NaN included.
    valid
        ``(bands, rows, cols)``; True where a pixel was measured.
    reach_px
        Largest radius, pixels.

    Returns
    -------
    NDArray[np.float32]
        Filled copy, or ``pixels`` itself if all of them are valid.

    Examples
    --------
    >>> pixels = np.array([[[1, np.nan, 3]]], dtype=np.float32)
    >>> fill_invalid(pixels, np.isfinite(pixels), reach_px=1).tolist()
    [[[1.0, 2.0, 3.0]]]

    """
    if valid.all():
        return pixels
    filled = np.where(valid, pixels, np.float32(0))
    elsewhere = filled.sum(axis=0) / np.maximum(1, valid.sum(axis=0, dtype=np.float32))
    for band, known in zip(filled, valid, strict=True):
        _fill_band(band, known, elsewhere, reach_px)
    return filled


def _fill_band(
    band: NDArray[np.float32], valid: NDArray[np.bool_], elsewhere: NDArray[np.float32], reach_px: int
) -> None:
    # The library takes longer to load than most scenes without holes to read.
    from scipy.ndimage import uniform_filter

    missing = ~valid
    measured = np.where(valid, band, np.float32(0)).astype(np.float64)
    weight = valid.astype(np.float64)
    for radius in _radii(reach_px) if valid.any() else ():
        if not missing.any():
            return
        side = 2 * radius + 1
        share = uniform_filter(weight, side, mode="constant")
        total = uniform_filter(measured, side, mode="constant")
        # The filter's running sums leave rounding residues where there is nothing.
        found = missing & (share > 0.5 / side**2)
        band[found] = total[found] / share[found]
        missing &= ~found
    band[missing] = elsewhere[missing]


def _radii(reach_px: int) -> Iterator[int]:
    """1, 2, 4, 8 … and at last the reach itself."""
    radius = 1
    while radius < reach_px:
        yield radius
        radius *= 2
    if reach_px > 0:
        yield reach_px
