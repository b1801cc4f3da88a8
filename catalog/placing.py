"""Placement of a raster: its grid as the file has it, or the reason why it has none."""

from __future__ import annotations

import math

from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from catalog.errors import SourceError
from catalog.paths import without_query

#: Distance, in pixels, by which rotation terms move the far corner of a grid that still counts as north-up.
_TOLERANCE_PX = 1e-3

#: Coordinate that no CRS of this planet reaches in any unit.
_FARTHEST = 1e12


def grid_of_raster(raster: DatasetReader) -> GeoBox:
    """Read the grid of a raster.

    Returns
    -------
    GeoBox
        The north-up grid; its CRS is None where the file has none.

    Raises
    ------
    SourceError
        The raster has no pixels, or its grid is rotated or makes no sense.

    """
    name = without_query(raster.name)
    if raster.count == 0:
        inner = ", ".join(raster.subdatasets[:3])
        raise SourceError(f"{name} holds several rasters and none of its own: give one of them, as {inner}")
    if raster.width == 0 or raster.height == 0:
        raise SourceError(f"{name} has no pixels")
    transform = north_up(raster.transform, raster.height, raster.width)
    fault = transform_fault(transform)
    if fault is not None:
        raise SourceError(
            f"{name} is on no grid, for its geotransform has {fault}: write the right one, gdal_edit.py -a_ullr"
        )
    if transform.b or transform.d:
        raise SourceError(f"{name} is on a rotated grid: warp it to a north-up one first, gdalwarp IN.tif OUT.tif")
    return GeoBox((raster.height, raster.width), transform, raster.crs)


def north_up(transform: Affine, height: int, width: int) -> Affine:
    """Drop rotation terms that are the rounding of other software; others stay."""
    cols, rows = abs(transform.b) * height, abs(transform.d) * width
    if cols < _TOLERANCE_PX * abs(transform.a) and rows < _TOLERANCE_PX * abs(transform.e):
        return Affine(transform.a, 0.0, transform.c, 0.0, transform.e, transform.f)
    return transform


def transform_fault(transform: Affine) -> str | None:
    """Name what makes a geotransform useless; None for one that places pixels."""
    values = tuple(transform)[:6]
    if not all(map(math.isfinite, values)):
        return f"a number that is not finite, {', '.join(f'{value:g}' for value in values)}"
    if max(map(abs, values)) > _FARTHEST:
        return f"numbers beyond any place, {', '.join(f'{value:g}' for value in values)}"
    if transform.a * transform.e - transform.b * transform.d == 0:
        return f"pixels without size, {transform.a:g} × {transform.e:g}"
    # A pixel smaller than the rounding of its corner's coordinates has no place.
    for size, corner in ((transform.a or transform.b, transform.c), (transform.e or transform.d, transform.f)):
        if abs(size) < 8 * math.ulp(corner):
            return f"pixels of {abs(size):g} at {corner:g}, which is less than numbers are told apart by"
    return None


def other_placement(raster: DatasetReader) -> tuple[str, str] | None:
    """Name what places a raster without a geotransform of its own, and gdalwarp's option for it; None where nothing."""
    if not raster.transform.is_identity:
        return None
    if raster.gcps[0]:
        return f"{len(raster.gcps[0])} ground control points (GCPs)", "-order 1"
    if raster.rpcs is not None:
        return "rational polynomial coefficients (RPCs)", "-rpc"
    if raster.tags(ns="GEOLOCATION"):
        return "geolocation arrays", "-geoloc"
    return None


def check_placed(raster: DatasetReader) -> None:
    """Refuse a raster that only a warp can place.

    Raises :class:`SourceError`.
    """
    placement = other_placement(raster)
    if placement is not None:
        by, option = placement
        raise SourceError(
            f"{without_query(raster.name)} is placed by {by} and has no grid: warp it to one first, "
            f"gdalwarp {option} -t_srs EPSG:… IN.tif OUT.tif"
        )
