"""Areas of interest: boxes and GeoJSON in longitude and latitude, and the pixels that they touch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pyproj.exceptions import ProjError
from rasterio.windows import Window
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from catalog.errors import AreaError, RequestError
from catalog.poles import polar_footprint
from catalog.strict_json import json_text
from catalog.vector import read_polygons

_WGS84 = CRS("EPSG:4326")

#: Endings of files that are read as GeoJSON in degrees.
_GEOJSON = (".geojson", ".json")

#: Edges are split into pieces this long before they are projected, degrees: their image is not straight.
_SEGMENT_DEG = 0.01

#: The same place has other longitudes a turn away.
_TURNS_DEG = (-360.0, 360.0)

#: Outlines that overlap by less touch, degrees.
_TOUCH_DEG = 1e-9


def parse_bbox(text: str) -> BaseGeometry:
    """Parse a box in degrees.

    Parameters
    ----------
    text
        ``"west,south,east,north"``.

    Returns
    -------
    BaseGeometry
        Polygon in degrees.

    Raises
    ------
    RequestError
        The text is malformed, or the box is empty, not on Earth, or crosses the antimeridian.

    Examples
    --------
    >>> parse_bbox("14.02,48.20,14.12,48.26").bounds
    (14.02, 48.2, 14.12, 48.26)

    """
    parts = text.replace(" ", ",").split(",")
    try:
        west, south, east, north = (float(part) for part in parts if part)
    except ValueError:
        raise RequestError(f"not a box: {text!r}; give four numbers, west,south,east,north in degrees") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and -90 <= north <= 90):
        raise RequestError(
            f"box {text} is not on Earth: longitudes are -180…180, latitudes -90…90 (west,south,east,north)"
        )
    if west > east and south > north:
        raise RequestError(f"box {text} begins in its north-east corner: give west,south,east,north")
    if west > east:
        raise RequestError(
            f"box {text} crosses the antimeridian: run each side by itself, "
            f"{west:g},{south:g},180,{north:g} and -180,{south:g},{east:g},{north:g}"
        )
    if west == east or south >= north:
        raise RequestError(f"box {text} is empty: give west,south,east,north with west < east and south < north")
    return shapely.box(west, south, east, north)


def read_aoi(path: Path, layer: str | None = None, where: str | None = None) -> BaseGeometry:
    """Read the polygons of a vector file, in any format and CRS that OGR reads.

    Parameters
    ----------
    path
        GeoJSON with a geometry, a Feature or a FeatureCollection, or another vector file.
    layer
        Name of the layer; None where there is only one.
    where
        Condition on the attributes, in OGR's SQL.

    Returns
    -------
    BaseGeometry
        Union of the polygons, in degrees.

    Raises
    ------
    AreaError
        The file cannot be read, or holds no polygons that can be used.

    """
    if path.suffix.lower() in _GEOJSON and layer is None and where is None:
        content = _geojson(path)
        # GeoJSON of before RFC 7946 may have a CRS of its own.
        if not (isinstance(content, dict) and content.get("crs")):
            return parse_aoi(content, str(path))
    return _union(read_polygons(path, layer, where), str(path))


def _geojson(path: Path) -> Any:
    try:
        return json.loads(json_text(path.read_bytes()))
    except OSError as error:
        raise AreaError(f"cannot read the area of interest {path}: {error.strerror}") from error
    except RecursionError as error:
        raise AreaError(f"{path} is not GeoJSON: it is nested too deeply") from error
    except ValueError as error:
        raise AreaError(f"{path} is not GeoJSON: {error}") from error


def parse_aoi(content: Any, path: str) -> BaseGeometry:
    """Turn parsed GeoJSON into an area.

    Parameters
    ----------
    content
        A geometry, a Feature or a FeatureCollection.
    path
        Name of its source, for messages.

    Returns
    -------
    BaseGeometry
        Union of the polygons, in degrees.

    Raises
    ------
    AreaError
        There are no polygons that can be used.

    """
    try:
        polygons = [shapely.force_2d(shape(geometry)) for geometry in _geometries(content)]
    except RecursionError as error:
        raise AreaError(f"{path} is not GeoJSON of polygons: its collections are nested too deeply") from error
    except KeyError as error:
        raise AreaError(f"{path} is not GeoJSON of polygons: a part of it has no {error}") from error
    except (TypeError, AttributeError, ValueError, OverflowError, ShapelyError) as error:
        raise AreaError(f"{path} is not GeoJSON of polygons: a field of it is not as RFC 7946 has it") from error
    polygons = [polygon for polygon in polygons if polygon.geom_type in ("Polygon", "MultiPolygon")]
    if not polygons:
        raise AreaError(f"{path} holds no polygon: an area of interest needs at least one")
    return _union(polygons, path)


def _union(polygons: Sequence[BaseGeometry], path: str) -> BaseGeometry:
    if not np.isfinite(shapely.get_coordinates(polygons)).all():
        raise AreaError(f"{path} holds coordinates that are not finite numbers")
    try:
        area = shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])
    except ShapelyError as error:
        raise AreaError(f"{path} holds polygons that cannot be put together: {error}") from error
    west, south, east, north = area.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise AreaError(
            f"{path} is not in degrees of longitude and latitude, or crosses the antimeridian: split it there"
        )
    if east - west > 180:
        raise AreaError(f"{path} crosses the antimeridian: run each side by itself")
    if area.area == 0:
        raise AreaError(f"{path} holds an empty polygon")
    return area


def project(area: BaseGeometry, crs: CRS) -> BaseGeometry:
    """The area in another CRS, with its edges bent as the projection bends them."""
    return Geometry(shapely.segmentize(area, _SEGMENT_DEG), _WGS84).to_crs(crs).geom


def window_of(area: BaseGeometry, geobox: GeoBox, what: str) -> Window:
    """The pixels of a grid that an area's bounding box touches.

    Raises :class:`AreaError`, naming ``what``, when there are none or the grid has no CRS.
    """
    if geobox.crs is None:
        raise AreaError(f"{what} has no CRS, so an area in degrees cannot be found in it")
    try:
        footprint = footprint_of(geobox)
        outline = outline_on(area, geobox)
        window = _empty() if outline.is_empty else _window(outline, geobox)
    except (ShapelyError, ProjError, ValueError) as error:
        raise AreaError(f"the area cannot be found in {what}, whose CRS does not reach it: {error}") from error
    if window.width == 0 or window.height == 0:
        bounds = ",".join(f"{degrees:.4f}" for degrees in footprint.bounds)
        raise AreaError(f"the area is outside {what}, which covers {bounds}")
    return window


def outline_on(area: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """The part of an area in degrees that is near a grid, in the grid's CRS."""
    footprint = footprint_of(geobox)
    # Far from its grid a projection folds: only what is near is projected.
    near = _turned_to(area, footprint).intersection(footprint.buffer(_SEGMENT_DEG))
    return near if near.is_empty or geobox.crs is None else project(near, geobox.crs)


def covered_share(area: BaseGeometry, geobox: GeoBox) -> float:
    """Share of an area in degrees that lies inside a grid, 0 to 1."""
    footprint = footprint_of(geobox)
    return float(_turned_to(area, footprint).intersection(footprint).area / area.area)


def clip(area: BaseGeometry, grounds: Sequence[BaseGeometry]) -> BaseGeometry:
    """The part of an area in degrees that lies on footprints, or beside them by less than the bend of an edge."""
    ground = shapely.union_all([one.buffer(_SEGMENT_DEG) for one in grounds])
    return area.intersection(shapely.union_all([_turn(ground, degrees) for degrees in (0.0, *_TURNS_DEG)]))


@lru_cache(maxsize=32)
def footprint_of(geobox: GeoBox, npoints: int = 20) -> BaseGeometry:
    """The outline of a grid in degrees, ``npoints`` vertices a side; in one piece where it crosses the antimeridian.

    A grid over a pole has all longitudes, up to the pole.
    """
    over_pole = polar_footprint(geobox, npoints)
    if over_pole is not None:
        return over_pole
    outline = geobox.footprint(_WGS84, npoints=npoints).geom
    # Degrees that are wider than half the Earth by themselves were not cut.
    wide = geobox.crs is not None and geobox.crs.geographic and geobox.boundingbox.span_x > 180
    return outline if wide else unwrap(outline)


def unwrap(geometry: BaseGeometry) -> BaseGeometry:
    """A footprint that was cut off the wrong way at the antimeridian, made whole: its west is moved to beyond 180°.

    What is wider than half the Earth either way, as a global grid, stays as it is.
    """
    if _width(geometry) <= 180:
        return geometry
    moved = shapely.transform(geometry, lambda xy: xy + (xy[:, :1] < 0) * (360.0, 0.0))
    return shapely.make_valid(moved) if 0 < _width(moved) <= 180 else geometry


def reaches_beyond_180(footprint: BaseGeometry) -> bool:
    """Tell whether a footprint crosses the antimeridian; one that goes all around the Earth does not."""
    west, _, east, _ = footprint.bounds
    return bool((west < -180 - _TOUCH_DEG or east > 180 + _TOUCH_DEG) and east - west < 360 - _TOUCH_DEG)


def cut_at_antimeridian(footprint: BaseGeometry) -> BaseGeometry:
    """A footprint that reaches beyond 180°, as its parts on either side."""
    world = shapely.box(-180, -90, 180, 90)
    return shapely.union_all([_turn(footprint, degrees).intersection(world) for degrees in (0.0, *_TURNS_DEG)])


def _width(geometry: BaseGeometry) -> float:
    west, _, east, _ = geometry.bounds
    return float(east - west)


def _turned_to(area: BaseGeometry, footprint: BaseGeometry) -> BaseGeometry:
    """The area, and its copies whole turns away that a footprint reaching beyond 180° overlaps."""
    # Copies that only touch it are those of an area at the far edge of a global grid.
    inner = footprint.buffer(-_TOUCH_DEG)
    copies = [_turn(area, degrees) for degrees in _TURNS_DEG]
    return shapely.union_all([area, *(copy for copy in copies if copy.intersects(inner))])


def _turn(geometry: BaseGeometry, degrees: float) -> BaseGeometry:
    return shapely.transform(geometry, lambda xy: xy + np.array([degrees, 0.0]))


def _window(projected: BaseGeometry, geobox: GeoBox) -> Window:
    rows, cols = geobox.overlap_roi(geobox.enclosing(Geometry(projected, geobox.crs)))
    return Window(cols.start, rows.start, max(0, cols.stop - cols.start), max(0, rows.stop - rows.start))


def _empty() -> Window:
    return Window(0, 0, 0, 0)


def utm_crs(area: BaseGeometry) -> CRS:
    """The UTM zone of the area's centre."""
    centre = shapely.box(*area.bounds).centroid
    zone = min(60, int((centre.x + 180) // 6) + 1)
    return CRS(f"EPSG:{32600 + zone if centre.y >= 0 else 32700 + zone}")


def spans_utm_zones(area: BaseGeometry) -> bool:
    """Tell whether the area lies in more than one UTM zone."""
    west, _, east, _ = area.bounds
    return int((west + 180) // 6) != int((min(east, 179.999999) + 180 - 1e-9) // 6)


def _geometries(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    kind = content["type"]
    if kind == "FeatureCollection":
        for feature in content["features"]:
            yield from _geometries(feature)
    elif kind == "Feature":
        # A feature without a place is legal.
        if content["geometry"] is not None:
            yield from _geometries(content["geometry"])
    elif kind == "GeometryCollection":
        for geometry in content["geometries"]:
            yield from _geometries(geometry)
    else:
        yield content
