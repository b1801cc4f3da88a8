"""Outlines in degrees of grids that hold a pole, which no ring of longitudes and latitudes encloses by itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

#: How near to an edge the pole lies on it, pixels.
_ON_EDGE_PX = 1e-6

#: Distance below which two images of the pole are one point, pixels: a cylindrical map shows it as a line.
_ONE_POINT_PX = 1e-3


def polar_footprint(geobox: GeoBox, npoints: int) -> BaseGeometry | None:
    """The outline of a grid that holds a pole, or has it on its edge, with ``npoints`` vertices a side.

    None for any other grid. Longitudes lie between -180° and 180°.
    """
    crs = geobox.crs
    if crs is None or not crs.projected:
        return None
    try:
        to_degrees = Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True)
        for latitude in (90.0, -90.0):
            pole = _pixel_of_pole(geobox, to_degrees, latitude)
            if pole is not None:
                return _outline(geobox, to_degrees, pole, latitude, npoints)
    except ProjError:
        return None
    return None


def _pixel_of_pole(geobox: GeoBox, to_degrees: Transformer, latitude: float) -> NDArray[np.float64] | None:
    """Column and row of a pole; None where it is outside the grid, or no single point of the map."""
    xs, ys = to_degrees.transform([0.0, 90.0], [latitude] * 2, direction="INVERSE")
    pixels = np.array([~geobox.affine * (x, y) for x, y in zip(xs, ys, strict=True)])
    if not np.isfinite(pixels).all() or np.abs(pixels[1] - pixels[0]).max() > _ONE_POINT_PX:
        return None
    back = to_degrees.transform(xs[0], ys[0])
    rows, cols = geobox.shape
    inside = (pixels[0] >= -_ON_EDGE_PX).all() and (pixels[0] <= np.array([cols, rows]) + _ON_EDGE_PX).all()
    return pixels[0] if inside and abs(back[1] - latitude) < 1e-6 else None


def _outline(
    geobox: GeoBox, to_degrees: Transformer, pole: NDArray[np.float64], latitude: float, npoints: int
) -> BaseGeometry | None:
    ring = _ring(geobox, npoints)
    along = _place_on(ring, pole)
    if along is not None:
        # The pole itself has any longitude: the ring comes to it on one meridian and leaves it on another.
        ring = np.concatenate([ring[along + 1 :], ring[: along + 1]])
        ring = ring[np.abs(ring - pole).max(axis=1) > _ON_EDGE_PX]
    xs, ys = zip(*(geobox.affine * (col, row) for col, row in ring), strict=True)
    lon, lat = to_degrees.transform(xs, ys)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    if along is None:
        lon, lat = [*lon, lon[0]], [*lat, lat[0]]
    whole = np.unwrap(lon, period=360)
    ends = [(whole[-1], latitude), (whole[0], latitude)]
    return _between_180(shapely.make_valid(shapely.Polygon([*zip(whole, lat, strict=True), *ends])))


def _ring(geobox: GeoBox, npoints: int) -> NDArray[np.float64]:
    """Vertices of the grid's edge, columns and rows, in order; the first is not repeated."""
    rows, cols = geobox.shape
    corners = np.array([(0, 0), (cols, 0), (cols, rows), (0, rows), (0, 0)], dtype=float)
    steps = np.arange(npoints)[:, None] / npoints
    return np.concatenate([start + steps * (end - start) for start, end in pairwise(corners)])


def _place_on(ring: NDArray[np.float64], pole: NDArray[np.float64]) -> int | None:
    """The number of the vertex after which a ring passes through the pole; None where it does not."""
    following = np.roll(ring, -1, axis=0)
    steps = following - ring
    share = (((pole - ring) * steps).sum(axis=1) / (steps**2).sum(axis=1)).clip(0, 1)
    distance = np.abs(ring + share[:, None] * steps - pole).max(axis=1)
    return int(distance.argmin()) if distance.min() <= _ON_EDGE_PX else None


def _between_180(polygon: BaseGeometry) -> BaseGeometry:
    """A polygon of any longitudes with each between -180° and 180°."""
    world = shapely.box(-180, -90, 180, 90)
    turns = [
        shapely.transform(polygon, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
        for turn in (-720, -360, 0, 360, 720)
    ]
    return shapely.union_all([one.intersection(world) for one in turns])
