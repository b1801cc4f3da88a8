"""Overviews: an image at half the resolution, again and again until it fits into one block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo import Shape2d, shape_

from tiling.accelerators import Accelerator
from tiling.product import BLOCK_PX, nearest_non_nodata, nodata_as

#: Rows that are halved at a time: what is made of them on the way stays in the processor's cache.
_ROWS = 64


def level_shapes(shape: Shape2d) -> list[Shape2d]:
    """Shapes of an image and its overviews."""
    shapes = [shape]
    while max(shapes[-1].yx) > BLOCK_PX:
        shapes.append(shape_((-(-shapes[-1].y // 2), -(-shapes[-1].x // 2))))
    return shapes


def halve(
    pixels: NDArray[Any],
    nodata: float | None,
    *,
    accelerator: Accelerator | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Means of 2 × 2 pixels of ``(bands, rows, cols)``, rounded half up; what is nodata plays no part.

    The last row or column of an odd number is its own mean. They are returned, in ``out`` where that is given.
    """
    bands, rows, cols = pixels.shape
    if rows % 2 or cols % 2:
        pixels = np.pad(pixels, ((0, 0), (0, rows % 2), (0, cols % 2)), mode="edge")
        bands, rows, cols = pixels.shape
    halved = np.empty((bands, rows // 2, cols // 2), dtype=pixels.dtype) if out is None else out
    nodata = nodata_as(nodata, pixels.dtype)
    for band, half in zip(pixels, halved, strict=True):
        for top in range(0, rows, _ROWS):
            strip, place = band[top : top + _ROWS], half[top // 2 : (top + _ROWS) // 2]
            if accelerator is None or not accelerator.halves(strip, place, nodata):
                place[...] = _halve(strip, nodata)
    return halved


def _halve(strip: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """``(rows, cols)``, both even."""
    if nodata is None:
        return _means(strip)
    there = ~np.isnan(strip) if np.isnan(nodata) else strip != nodata
    known = there.all()
    means = _means(strip) if known else _means_of_known(strip, there)
    # A mean of values on both sides of it may be nodata itself.
    means[means == nodata] = nearest_non_nodata(nodata, strip.dtype)
    if not known:
        means[_quads(there.astype(np.int32)) == 0] = nodata
    return means


def _means(strip: NDArray[Any]) -> NDArray[Any]:
    if strip.dtype.itemsize > 2 or strip.dtype.kind not in "iu":
        return _rounded(_quads(strip.astype(np.float64)) / 4, strip.dtype)
    total = _quads(strip.astype(np.int32))
    total += 2
    total >>= 2
    return total.astype(strip.dtype)


def _means_of_known(strip: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[Any]:
    count = _quads(there.astype(np.float64))
    total = _quads(np.where(there, strip, 0).astype(np.float64))
    return _rounded(total / np.maximum(count, 1), strip.dtype)


def _quads(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of 2 × 2 values."""
    rows = values[0::2] + values[1::2]
    sums: NDArray[Any] = rows[:, 0::2] + rows[:, 1::2]
    return sums


def _rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return (np.floor(values + 0.5) if dtype.kind in "iub" else values).astype(dtype)
