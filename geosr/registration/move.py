"""Images moved by a fraction of a pixel, one axis after the other.

All pixels move alike, so that an axis takes four products a pixel with the same weights; :func:`scipy.ndimage.shift`
takes sixteen, and computes the weights of each pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Pixels over which an image's edge is repeated for the spline's coefficients: beyond them nothing changes the image.
_SPLINE_REACH_PX = 12


def moved(image: NDArray[np.floating], shift_px: tuple[float, float], order: int = 3) -> NDArray[np.float32]:
    """Move an image by the spline through its pixels; beyond the image its edge repeats.

    But for rounding that is what :func:`scipy.ndimage.shift` makes of each band with ``mode="nearest"``.

    Parameters
    ----------
    image
        ``(…, rows, cols)``.
    shift_px
        Rows and columns by which it moves: pixel ``p`` of the image comes to ``p + shift``.
    order
        1 for linear interpolation, 3 for the cubic spline.

    Returns
    -------
    array
        As ``image``.
    """
    made = image.astype(np.float32)
    for axis, shift in zip((-2, -1), shift_px, strict=True):
        made = _moved_along(made, axis, shift, order)
    return made


def _moved_along(image: NDArray[np.float32], axis: int, shift: float, order: int) -> NDArray[np.float32]:
    whole = math.floor(-shift)
    weights = _weights(-shift - whole, order)
    first = 1 - len(weights) // 2 + whole
    count = image.shape[axis]
    pad = _SPLINE_REACH_PX + abs(whole) + len(weights)
    padding = [(0, 0)] * image.ndim
    padding[axis] = (pad, pad)
    coefficients = np.pad(image, padding, mode="edge")
    if order > 1:
        coefficients = ndimage.spline_filter1d(coefficients, order, axis, np.float32, mode="mirror")
    made = np.zeros_like(image)
    along = np.moveaxis(coefficients, axis, 0)
    for tap, weight in enumerate(weights, pad + first):
        if weight:
            made += np.float32(weight) * np.moveaxis(along[tap : tap + count], 0, axis)
    return made


def _weights(fraction: float, order: int) -> tuple[float, ...]:
    """Weights of the pixels around a place that lies ``fraction`` after the one in their middle."""
    if order == 1:
        return 1 - fraction, fraction
    cubes = (1 - fraction) ** 3, 4 - 6 * fraction**2 + 3 * fraction**3, 1 + 3 * fraction * (1 + fraction - fraction**2)
    return tuple(one / 6 for one in (*cubes, fraction**3))
