"""Texture of the ground on both dates: how much neighbouring pixels differ, as roofs and streets do and soil does not.

An index such as NDBI takes bare soil for buildings. Their texture tells them apart: where something was built it grows,
where a field was ploughed it does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Side of the squares in which pixels are compared, pixels of the product: about a house with its yard.
SIDE_PX = 7


def texture_of(band: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Standard deviation of the known reflectance in the square around each pixel, ``(rows, cols)``; 0 without any."""
    exact = np.where(known, band, 0).astype(np.float64)
    share, *sums = (ndimage.uniform_filter(one, SIDE_PX, mode="nearest") for one in (known * 1.0, exact, exact**2))
    mean, square = (one / np.maximum(share, 0.5 / SIDE_PX**2) for one in sums)
    made: NDArray[np.float32] = np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)
    return made
