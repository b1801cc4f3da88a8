"""Reading a raster on another grid, one pixel at a time in effect: a pixel's value does not depend on the window.

GDAL's warper fits its kernel and its approximation of the projection to each window, so that neighbouring chunks would
not meet. Here each pixel's place in the source is computed exactly, and its value from the 4 × 4 pixels around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.windows import Window

from catalog.arrays import measured_pixels

Kernel = Literal["nearest", "cubic"]


def read_resampled(
    raster: DatasetReader,
    indexes: list[int],
    geobox: GeoBox,
    nodata: float,
    kernel: Kernel,
    *,
    source_nodata: Sequence[float | None] = (),
) -> NDArray[Any]:
    """Bands ``(bands, rows, cols)`` of a raster on ``geobox``; ``nodata`` outside it and where nothing was measured.

    In the raster each value of ``source_nodata`` marks such pixels, ``nodata`` itself does, and NaN.

    Cubic convolution (Keys, 1981, a = -1/2) leaves these out and takes the weights of the others for the whole; a
    pixel whose nearest source pixel is one of them is nodata.
    """
    cols, rows = _source_position(raster, geobox)
    out = np.full((len(indexes), *cols.shape), nodata, dtype=raster.dtypes[indexes[0] - 1])
    nearest_row, nearest_col = np.floor(rows).astype(int), np.floor(cols).astype(int)
    inside = (nearest_row >= 0) & (nearest_row < raster.height) & (nearest_col >= 0) & (nearest_col < raster.width)
    if not inside.any():
        return out
    reach = 2 if kernel == "cubic" else 0
    top, left = nearest_row[inside].min() - reach, nearest_col[inside].min() - reach
    bottom, right = nearest_row[inside].max() + reach, nearest_col[inside].max() + reach
    top, left = max(0, top), max(0, left)
    window = Window(left, top, min(right, raster.width - 1) - left + 1, min(bottom, raster.height - 1) - top + 1)
    source = raster.read(indexes, window=window)
    valid = measured_pixels(source, [nodata, *source_nodata])
    at_nearest = (slice(None), nearest_row[inside] - top, nearest_col[inside] - left)
    if kernel == "nearest":
        out[:, inside] = np.where(valid[at_nearest], source[at_nearest], nodata)
        return out
    # A weight of 0 does not silence NaN.
    measured = np.where(valid, source, source.dtype.type(0))
    value = sample_cubic(measured, valid, rows[inside] - top, cols[inside] - left)
    if np.issubdtype(out.dtype, np.integer):
        limits = np.iinfo(out.dtype)
        lowest = limits.min + 1 if nodata == limits.min else limits.min
        value = np.clip(np.rint(value), lowest, limits.max)
    out[:, inside] = np.where(valid[at_nearest], value, nodata)
    return out


def sample_cubic(
    source: NDArray[Any], valid: NDArray[np.bool_], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cubic convolution of ``(bands, rows, cols)`` at positions (pixels from the corner): ``(bands, positions)``.

    Pixels that are not ``valid``, of the same shape or with one band for all, are left out; they must hold finite
    numbers.
    """
    top, row_weights = _keys(rows)
    left, col_weights = _keys(cols)
    height, width = source.shape[1:]
    flat = source.reshape(len(source), -1)
    known = None if valid.all() else valid.reshape(len(valid), -1)
    total = np.zeros((len(source), rows.size))
    weight = np.zeros((1 if known is None else len(known), rows.size))
    for i in range(4):
        first = np.clip(top + i, 0, height - 1) * width
        for j in range(4):
            at = first + np.clip(left + j, 0, width - 1)
            share = row_weights[i] * col_weights[j]
            if known is not None:
                share = share * known.take(at, axis=1)
            total += share * flat.take(at, axis=1)
            weight += share
    return total / np.where(np.abs(weight) > 0.1, weight, 1)


def _source_position(raster: DatasetReader, geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column and row in the raster of each pixel's centre, in pixels from the raster's corner."""
    height, width = geobox.shape
    x, y = geobox.affine @ np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    source_crs = CRS(raster.crs)
    if geobox.crs is not None and geobox.crs != source_crs:
        x, y = geobox.crs.transformer_to_crs(source_crs)(x, y)
    cols, rows = ~raster.transform @ (x, y)
    return np.where(np.isfinite(cols), cols, -1), np.where(np.isfinite(rows), rows, -1)


def _keys(position: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The first of the four pixels around a position, and the weights of all four."""
    centred = position - 0.5
    first = np.floor(centred).astype(np.int64)
    t = centred - first
    weights = [
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
    return first - 1, weights
