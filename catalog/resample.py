"""Reading a raster on another grid, one pixel at a time in effect: a pixel's value does not depend on the window.

GDAL's warper fits its kernel and its approximation of the projection to each window, so that neighbouring chunks would
not meet. Here each pixel's place in the source is computed exactly, and its value from the 4 × 4 pixels around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.windows import Window

from catalog.arrays import measured_pixels
from catalog.errors import SourceError
from catalog.grids import repeat, repeated_window
from catalog.paths import without_query
from catalog.placing import north_up
from catalog.scene import Pixels

ResamplingKernel = Literal["nearest", "cubic"]

#: Fraction of a pixel by which grids may differ and still be one: what is lost when numbers are written as text.
_TOLERANCE_PX = 1e-3

#: Share of the weights below which the pixels that have them say nothing of a value between them.
_LEAST_WEIGHT = 0.1


def read_resampled(
    raster: DatasetReader,
    indexes: list[int],
    geobox: GeoBox,
    kernel: ResamplingKernel,
    *,
    nodata: Sequence[float | None] = (),
    masked: bool = False,
) -> Pixels:
    """Read bands of a raster on another grid.

    Cubic convolution (Keys, 1981, a = -1/2) leaves unmeasured pixels out and takes the weights of the others for the
    whole; a pixel whose nearest source pixel is unmeasured is so too.

    Parameters
    ----------
    raster
        The open raster.
    indexes
        Numbers of the bands, from 1.
    geobox
        The grid to read on.
    kernel
        Nearest neighbour or cubic convolution.
    nodata
        DN of the raster that are no measurement, in all bands; NaN never is one.
    masked
        Apply the bands' masks as well.

    Returns
    -------
    tuple of arrays
        Pixels ``(bands, rows, cols)`` in the raster's type, cubic ones as float64, and which of them were measured:
        none outside the raster.

    Raises
    ------
    SourceError
        Nothing tells where the raster lies.

    """
    if raster.crs is None:
        raise SourceError(f"{without_query(raster.name)} has no CRS, so nothing tells where its pixels lie")
    nested = _nested(raster, geobox) if kernel == "nearest" else None
    if nested is not None:
        return _read_nested(raster, indexes, nested, geobox, nodata, masked)
    cols, rows = position_in(raster.transform, CRS(raster.crs), geobox)
    shape = (len(indexes), *cols.shape)
    out = np.zeros(shape, dtype=raster.dtypes[indexes[0] - 1] if kernel == "nearest" else np.float64)
    known = np.zeros(shape, dtype=bool)
    nearest_row, nearest_col = np.floor(rows).astype(int), np.floor(cols).astype(int)
    inside = (nearest_row >= 0) & (nearest_row < raster.height) & (nearest_col >= 0) & (nearest_col < raster.width)
    if not inside.any():
        return out, known
    reach = 2 if kernel == "cubic" else 0
    top, left = nearest_row[inside].min() - reach, nearest_col[inside].min() - reach
    bottom, right = nearest_row[inside].max() + reach, nearest_col[inside].max() + reach
    top, left = max(0, top), max(0, left)
    window = Window(left, top, min(right, raster.width - 1) - left + 1, min(bottom, raster.height - 1) - top + 1)
    source, valid = _read_window(raster, indexes, window, nodata, masked)
    at_nearest = (slice(None), nearest_row[inside] - top, nearest_col[inside] - left)
    known[:, inside] = valid[at_nearest]
    if kernel == "nearest":
        out[:, inside] = source[at_nearest]
        return out, known
    # A weight of 0 does not silence NaN.
    measured = np.where(valid, source, source.dtype.type(0))
    out[:, inside] = sample_cubic(measured, valid, rows[inside] - top, cols[inside] - left)
    return out, known


def _read_window(
    raster: DatasetReader, indexes: list[int], window: Window, nodata: Sequence[float | None], masked: bool
) -> Pixels:
    pixels = raster.read(indexes, window=window)
    valid = measured_pixels(pixels, nodata)
    if masked:
        valid &= raster.read_masks(indexes, window=window) > 0
    return pixels, valid


def _nested(raster: DatasetReader, geobox: GeoBox) -> tuple[int, int, int] | None:
    """Pixels of the grid per pixel of the raster, along an axis, and the row and column of the raster's corner.

    None where its pixels are no whole blocks of the grid's.
    """
    own, grid = north_up(raster.transform, raster.height, raster.width), geobox.affine
    span = round(own.a / grid.a)
    if span < 1 or own.b or own.d or geobox.crs != CRS(raster.crs):
        return None
    stretch = max(abs(own.a / grid.a - span), abs(own.e / grid.e - span)) * max(raster.shape)
    col, row = ~grid @ (own.c, own.f)
    if max(stretch, abs(col - round(col)), abs(row - round(row))) > _TOLERANCE_PX:
        return None
    return span, round(row), round(col)


def _read_nested(
    raster: DatasetReader,
    indexes: list[int],
    nested: tuple[int, int, int],
    geobox: GeoBox,
    nodata: Sequence[float | None],
    masked: bool,
) -> Pixels:
    """Bands of a raster whose pixels are whole blocks of the grid's: each is repeated over its block."""
    span, row, col = nested
    height, width = geobox.shape.yx
    own, inside = repeated_window(Window(-col, -row, width, height), span)
    out = np.zeros((len(indexes), own.height, own.width), dtype=raster.dtypes[indexes[0] - 1])
    known = np.zeros(out.shape, dtype=bool)
    top, left = max(0, own.row_off), max(0, own.col_off)
    bottom, right = min(raster.height, own.row_off + own.height), min(raster.width, own.col_off + own.width)
    if top < bottom and left < right:
        part = np.s_[:, top - own.row_off : bottom - own.row_off, left - own.col_off : right - own.col_off]
        window = Window(left, top, right - left, bottom - top)
        out[part], known[part] = _read_window(raster, indexes, window, nodata, masked)
    return repeat(out, span)[:, *inside], repeat(known, span)[:, *inside]


def sample_cubic(
    source: NDArray[Any], valid: NDArray[np.bool_], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cubic convolution of ``(bands, rows, cols)`` at positions (pixels from the corner): ``(bands, positions)``.

    Pixels that are not ``valid``, of the same shape or with one band for all, are left out; they must hold finite
    numbers. Where some are, the value lies among those of the valid ones around it: the weights left may be few, or
    cancel one another.
    """
    flat = source.reshape(len(source), -1)
    known = None if valid.all() else valid.reshape(len(valid), -1)
    total = np.zeros((len(source), rows.size))
    weight = np.zeros((1 if known is None else len(known), rows.size))
    holes = np.zeros(rows.size, dtype=bool)
    for at, share in _around(rows, cols, source.shape[1:]):
        if known is not None:
            there = known.take(at, axis=1)
            holes |= ~there.all(axis=0)
            share = share * there
        total += share * flat.take(at, axis=1)
        weight += share
    value = total / np.where(np.abs(weight) > _LEAST_WEIGHT, weight, 1)
    if known is not None and holes.any():
        few = np.abs(weight[:, holes]) <= _LEAST_WEIGHT
        value[:, holes] = _among_valid(value[:, holes], few, flat, known, rows[holes], cols[holes], source.shape[1:])
    return value


def _among_valid(
    value: NDArray[np.float64],
    few: NDArray[np.bool_],
    flat: NDArray[Any],
    known: NDArray[np.bool_],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Values beside holes, brought among those of the valid pixels around; of the nearest where ``few`` weigh in."""
    height, width = shape
    nearest = np.clip(np.floor(rows), 0, height - 1).astype(int) * width
    nearest += np.clip(np.floor(cols), 0, width - 1).astype(int)
    value = np.where(few & known.take(nearest, axis=1), flat.take(nearest, axis=1), value)
    low, high = np.full(value.shape, np.inf), np.full(value.shape, -np.inf)
    whole = np.ones((len(known), rows.size), dtype=bool)
    for at, _ in _around(rows, cols, shape):
        there, pixels = known.take(at, axis=1), flat.take(at, axis=1)
        whole &= there
        low = np.where(there, np.minimum(low, pixels), low)
        high = np.where(there, np.maximum(high, pixels), high)
    # Where all around are holes there is nothing to be among; where none is the kernel may overshoot.
    return np.where(whole | (low > high), value, np.clip(value, low, high))


def _around(
    rows: NDArray[np.float64], cols: NDArray[np.float64], shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Each of the 4 × 4 pixels around positions: where it is in a flat image of a shape, and its weight."""
    top, row_weights = _keys(rows)
    left, col_weights = _keys(cols)
    height, width = shape
    for i in range(4):
        first = np.clip(top + i, 0, height - 1) * width
        for j in range(4):
            yield first + np.clip(left + j, 0, width - 1), row_weights[i] * col_weights[j]


def position_in(
    transform: Affine, source_crs: CRS | None, geobox: GeoBox
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column and row in a raster of the centre of each pixel of a grid, in pixels from the raster's corner."""
    height, width = geobox.shape
    x, y = geobox.affine @ np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    if geobox.crs is not None and source_crs is not None and geobox.crs != source_crs:
        x, y = geobox.crs.transformer_to_crs(source_crs)(x, y)
    cols, rows = ~transform @ (x, y)
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
