"""Pixels of a grid under a polygon, each with the exact share of its area that is covered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from catalog.area import covered_share, outline_on
from geosr.errors import UsageError

#: Largest window of a field, pixels: several images of them are in memory at once.
_LARGEST_PX = 64_000_000


@dataclass(frozen=True)
class Cover:
    """Weights of the pixels of a window."""

    window: Window
    weights: NDArray[np.float32]
    """Covered share of each pixel, 0 to 1, ``(rows, cols)``."""
    pixels: float
    """Area of the whole polygon, also outside the grid, in pixels of the grid."""


def cover(polygon: BaseGeometry, geobox: GeoBox, name: str) -> Cover | None:
    """Lay a polygon in degrees over a grid; None where they do not meet.

    Raises :class:`UsageError` for one that is too large for its pixels to be held.
    """
    outline = outline_on(polygon, geobox)
    if outline.is_empty:
        return None
    to_pixels = ~geobox.affine
    # In pixels of the grid, rows downwards.
    placed = shapely.transform(
        outline,
        lambda xy: np.column_stack([to_pixels.a * xy[:, 0] + to_pixels.c, to_pixels.e * xy[:, 1] + to_pixels.f]),
    )
    rows, cols = geobox.shape
    left, top, right, bottom = placed.bounds
    first_col, first_row = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    width, height = min(cols, int(np.ceil(right))) - first_col, min(rows, int(np.ceil(bottom))) - first_row
    if width <= 0 or height <= 0:
        return None
    if width * height > _LARGEST_PX:
        raise UsageError(
            f"field {name} spans {width} x {height} pixels: divide fields larger than {_LARGEST_PX:,} pixels"
        )
    inside = shapely.transform(placed, lambda xy: xy - (first_col, first_row))
    weights = _weights(inside, height, width)
    if not weights.any():
        return None
    inner = float(weights.sum(dtype=np.float64))
    # The outline ends near the grid, the polygon need not.
    share = min(1.0, covered_share(polygon, geobox)) or 1.0
    return Cover(Window(first_col, first_row, width, height), weights, inner / share)


def _weights(polygon: BaseGeometry, height: int, width: int) -> NDArray[np.float32]:
    """Covered share of pixels; ``polygon`` is in pixels, rows downwards."""
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import NumPyRasterSource

    upwards = shapely.transform(polygon, lambda xy: np.column_stack([xy[:, 0], height - xy[:, 1]]))
    raster = NumPyRasterSource(np.zeros((height, width), np.uint8), xmin=0, ymin=0, xmax=width, ymax=height)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(upwards)}
    (found,) = exact_extract(raster, JSONFeatureSource([feature]), ["cell_id", "coverage"])
    weights = np.zeros(height * width, np.float32)
    weights[found["properties"]["cell_id"]] = found["properties"]["coverage"]
    return weights.reshape(height, width)
