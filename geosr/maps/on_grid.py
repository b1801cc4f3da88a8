"""Values of a raster on a grid of a picture's size, with NaN where its nodata values, masks or alpha say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.warp import reproject, transform_bounds
from rasterio.windows import Window

from catalog.gdal import colours_of

#: Pixels around the grid that interpolation into another CRS needs.
_MARGIN_PX = 2


def values_on(raster: DatasetReader, numbers: Sequence[int], grid: GeoBox) -> NDArray[np.float64]:
    """Read bands onto a grid.

    Parameters
    ----------
    raster
        The open raster, on an axis-aligned grid.
    numbers
        Numbers of the bands, from 1.
    grid
        North-up grid within the raster's bounds.

    Returns
    -------
    NDArray[np.float64]
        DN, ``(bands, rows, cols)``: the nearest pixel's where the raster is coarser, means where it is finer, and
        interpolated between pixels where it has another CRS. NaN where nothing was measured.

    """
    if raster.crs == grid.crs:
        window, flips = _window_of(raster, grid.boundingbox.bbox, 0)
        coarser = abs(raster.transform.a) >= grid.resolution.x
        pixels = _read(raster, numbers, window, grid.shape.yx, Resampling.nearest if coarser else Resampling.average)
        return pixels[:, :: flips[0], :: flips[1]]
    box = transform_bounds(grid.crs, raster.crs, *grid.boundingbox.bbox)
    window, _ = _window_of(raster, box, _MARGIN_PX)
    shape = min(round(window.height), 2 * grid.shape.y), min(round(window.width), 2 * grid.shape.x)
    pixels = _read(raster, numbers, window, (max(1, shape[0]), max(1, shape[1])), Resampling.average)
    transform = (
        raster.transform
        * Affine.translation(window.col_off, window.row_off)
        * Affine.scale(window.width / pixels.shape[2], window.height / pixels.shape[1])
    )
    values = np.full((len(numbers), *grid.shape), np.nan)
    reproject(
        pixels,
        values,
        src_transform=transform,
        src_crs=raster.crs,
        src_nodata=np.nan,
        dst_transform=grid.affine,
        dst_crs=str(grid.crs),
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return values


def _window_of(
    raster: DatasetReader, box: tuple[float, float, float, float], margin_px: int
) -> tuple[Window, tuple[int, int]]:
    """Window of a box, with fractions of pixels, and -1 for axes that run the other way than those of a map."""
    left, bottom, right, top = box
    cols, rows = zip(*(~raster.transform * corner for corner in ((left, top), (right, bottom))), strict=True)
    col, row = max(0.0, min(cols) - margin_px), max(0.0, min(rows) - margin_px)
    width, height = min(raster.width, max(cols) + margin_px) - col, min(raster.height, max(rows) + margin_px) - row
    return Window(col, row, width, height), (1 if rows[0] <= rows[1] else -1, 1 if cols[0] <= cols[1] else -1)


def read_measured(
    raster: DatasetReader, numbers: Sequence[int], window: Window, shape: tuple[int, int], resampling: Resampling
) -> np.ma.MaskedArray[Any, Any]:
    """Read bands, masked where nodata, masks or an alpha band say that nothing was measured.

    GDAL takes an alpha band for a mask in files of two or four bands alone.
    """
    how = {"window": window, "resampling": resampling}
    image = raster.read(list(numbers), out_shape=(len(numbers), *shape), masked=True, **how)
    for number, colour in enumerate(colours_of(raster), start=1):
        if colour == ColorInterp.alpha:
            clear = raster.read(number, out_shape=shape, **how) == 0
            return np.ma.MaskedArray(image.data, np.ma.getmaskarray(image) | clear)
    return np.ma.MaskedArray(image)


def _read(
    raster: DatasetReader, numbers: Sequence[int], window: Window, shape: tuple[int, int], resampling: Resampling
) -> NDArray[np.float64]:
    image = read_measured(raster, numbers, window, shape, resampling)
    return np.where(np.ma.getmaskarray(image), np.nan, image.filled(0).astype(np.float64))
