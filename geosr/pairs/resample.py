"""HR on a grid exactly ``scale`` times finer than the LR's, in one resampling from its source, shift included.

Each pixel's place in the source is computed exactly, so that a value does not depend on the block it is read in. Where
the source is finer than the grid, a pixel is the mean over its area; where it is coarser, cubic convolution of it.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from catalog.resample import sample_cubic
from geosr.pairs.sources import PairView
from geosr.registration.shift_surface import ShiftSurface

#: Source pixels that cubic convolution reaches.
_REACH_PX = 2


def hr_on_lr_grid(
    hr: PairView, lr_grid: GeoBox, window: Window, scale: int, surface: ShiftSurface | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """HR reflectance ``(bands, scale rows, scale cols)`` under a window of the LR grid, and what of it was measured.

    The window may reach beyond the LR grid. With a ``surface`` each pixel shows what lies its shift further on.
    """
    rows, cols = (
        offset + (np.arange(scale * length) + 0.5) / scale
        for offset, length in ((window.row_off, window.height), (window.col_off, window.width))
    )
    grid_rows, grid_cols = np.meshgrid(rows, cols, indexing="ij")
    places = _places_in(hr, lr_grid, grid_rows, grid_cols, surface)
    slopes = [np.gradient(place, axis=axis) for place, axis in product(places, (0, 1))]
    step = max(float(np.nanmedian(np.hypot(slopes[axis], slopes[2 + axis]))) for axis in (0, 1))
    count = max(1, round(step)) if np.isfinite(step) else 1

    source, measured, corner = _read(hr, places, reach=_REACH_PX + count)
    total = np.zeros((len(hr.order), *places[0].shape))
    valid = np.ones(places[0].shape, dtype=bool)
    if source is None or measured is None:
        return total, ~valid
    for down, across in product(((np.arange(count) + 0.5) / count - 0.5), repeat=2):
        y = places[0] + down * slopes[0] + across * slopes[1] - corner[0]
        x = places[1] + down * slopes[2] + across * slopes[3] - corner[1]
        found = _at_nearest(measured, y, x)
        y, x = np.where(found, y, 0.5), np.where(found, x, 0.5)
        total += sample_cubic(source, measured[None], y.ravel(), x.ravel()).reshape(total.shape)
        valid &= found
    return np.where(valid, total / count**2, 0.0), valid


def _places_in(
    hr: PairView,
    lr_grid: GeoBox,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    surface: ShiftSurface | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column in the HR scene of places in the LR grid, all in pixels from the corner."""
    if surface is not None:
        down, across = surface.at(rows, cols)
        rows, cols = rows + down, cols + across
    x, y = lr_grid.affine @ (cols, rows)  # type: ignore[operator]
    target = hr.scene.geobox
    if lr_grid.crs != target.crs and lr_grid.crs is not None and target.crs is not None:
        x, y = lr_grid.crs.transformer_to_crs(target.crs)(x, y)
    in_cols, in_rows = ~target.affine @ (x, y)
    return np.asarray(in_rows, dtype=np.float64), np.asarray(in_cols, dtype=np.float64)


def _read(
    hr: PairView, places: tuple[NDArray[np.float64], NDArray[np.float64]], reach: int
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_] | None, tuple[int, int]]:
    """The part of the scene that holds these places, and its first row and column; None where there is none."""
    bounds = []
    for place, length in zip(places, hr.scene.geobox.shape.yx, strict=True):
        finite = place[np.isfinite(place)]
        if finite.size == 0:
            return None, None, (0, 0)
        first = max(0, int(np.floor(finite.min())) - reach)
        last = min(length, int(np.ceil(finite.max())) + reach)
        if last <= first:
            return None, None, (0, 0)
        bounds.append((first, last))
    (top, bottom), (left, right) = bounds
    pixels, measured = hr.read(Window(left, top, right - left, bottom - top))
    return pixels, measured, (top, left)


def _at_nearest(measured: NDArray[np.bool_], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell whether the pixel that each place lies in was measured."""
    rows, cols = (np.floor(np.where(np.isfinite(place), place, -1.0)).astype(np.int64) for place in (y, x))
    inside = (rows >= 0) & (rows < measured.shape[0]) & (cols >= 0) & (cols < measured.shape[1])
    found = np.zeros(y.shape, dtype=bool)
    found[inside] = measured[rows[inside], cols[inside]]
    return found
