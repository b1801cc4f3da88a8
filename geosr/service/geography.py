"""Places of grids on Earth, in degrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

#: Outlines that are off by less look the same, degrees: a tenth of a metre.
_TOLERANCE_DEG = 1e-6


def bounds_of(geobox: GeoBox) -> tuple[float, float, float, float]:
    """West, south, east and north."""
    west, south, east, north = geobox.footprint("EPSG:4326", buffer=0).boundingbox.bbox
    return west, south, east, north


def outline_of(geobox: GeoBox) -> dict[str, Any]:
    """The outline as GeoJSON, with no more points than it needs."""
    polygon = shapely.simplify(geobox.footprint("EPSG:4326", buffer=0).geom, _TOLERANCE_DEG)
    outline: dict[str, Any] = shapely.geometry.mapping(polygon)
    return outline


def pixels_at(
    geobox: GeoBox, longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of places, with fractions; not finite where the grid's CRS does not reach."""
    assert geobox.crs is not None
    place = CRS("EPSG:4326").transformer_to_crs(geobox.crs)(longitudes, latitudes)
    with np.errstate(invalid="ignore"):
        cols, rows = ~geobox.affine * place
    return rows, cols


def name_of(geobox: GeoBox) -> str:
    """A grid's CRS as people call it: by its number where it has one."""
    crs = geobox.crs
    if crs is None:
        return "none"
    return f"EPSG:{crs.epsg}" if crs.epsg is not None else str(crs.proj.name)
