"""Samples of a raster's DN from all over a window, at a cost that does not grow with the window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

#: DN of one band and which of them were measured, both ``(count,)``.
BandSample = tuple[NDArray[Any], NDArray[np.bool_]]

#: Windows up to this many pixels are read whole.
_WHOLE_PX = 512 * 512

#: Longest side of what is read of a larger window through overviews, pixels.
_REDUCED_PX = 320

#: Squares along each axis, and their side in pixels, of a larger window without overviews.
_SQUARES = 5
_SQUARE_PX = 64


def sample_band(raster: DatasetReader, index: int, window: Window, *, masked: bool) -> BandSample:
    """Sample one band of a raster.

    Parameters
    ----------
    raster
        The open raster.
    index
        Number of the band, from 1.
    window
        The part that is sampled, inside the raster.
    masked
        Apply the band's mask as well.

    Returns
    -------
    BandSample
        All pixels of a small window; one overview of a large one, or squares on a regular grid, corners included,
        where there is no overview.

    """
    if window.width * window.height <= _WHOLE_PX:
        return _read(raster, index, window, None, masked)
    if raster.overviews(index):
        shrink = max(window.width, window.height) / _REDUCED_PX
        shape = max(1, round(window.height / shrink)), max(1, round(window.width / shrink))
        return _read(raster, index, window, shape, masked)
    parts = [_read(raster, index, square, None, masked) for square in squares(window)]
    return np.concatenate([pixels for pixels, _ in parts]), np.concatenate([valid for _, valid in parts])


def squares(window: Window) -> list[Window]:
    """Evenly spaced squares of a window, the outermost at its edges."""
    height, width = min(_SQUARE_PX, window.height), min(_SQUARE_PX, window.width)
    tops = np.unique(np.linspace(0, window.height - height, _SQUARES).astype(int))
    lefts = np.unique(np.linspace(0, window.width - width, _SQUARES).astype(int))
    return [
        Window(window.col_off + int(left), window.row_off + int(top), width, height) for top in tops for left in lefts
    ]


def _read(raster: DatasetReader, index: int, window: Window, shape: tuple[int, int] | None, masked: bool) -> BandSample:
    pixels = raster.read(index, window=window, out_shape=shape, resampling=Resampling.nearest).ravel()
    if not masked:
        return pixels, np.ones(pixels.shape, dtype=bool)
    mask = raster.read_masks(index, window=window, out_shape=shape, resampling=Resampling.nearest)
    return pixels, mask.ravel() > 0
