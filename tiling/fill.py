"""Filling of pixels that were not measured, so that none of them reaches a convolution as a number of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter


def fill_invalid(pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace each invalid pixel by the mean of the valid ones nearest to it, band by band.

    ``pixels`` and ``valid`` are ``(bands, rows, cols)``; invalid pixels may hold anything, NaN included. A pixel
    takes the mean of the smallest of the squares of radius 1, 2, 4, 8 … around it that hold a valid pixel, so that its
    value depends on nothing farther than twice its distance to one. A band without any valid pixel becomes zero.
    """
    if valid.all():
        return pixels
    filled = np.where(valid, pixels, np.float32(0))
    for band, known in zip(filled, valid, strict=True):
        _fill_band(band, known)
    return filled


def _fill_band(band: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    if valid.all() or not valid.any():
        return
    measured = np.where(valid, band, np.float32(0)).astype(np.float64)
    weight = valid.astype(np.float64)
    missing = ~valid
    radius = 1
    while missing.any():
        side = 2 * radius + 1
        share = uniform_filter(weight, side, mode="constant")
        total = uniform_filter(measured, side, mode="constant")
        # The filter's running sums leave rounding residues where there is nothing.
        found = missing & (share > 0.5 / side**2)
        band[found] = total[found] / share[found]
        missing &= ~found
        radius *= 2
