"""Pixel sizes on the ground, whatever the unit and the distortion of a grid's CRS."""

from __future__ import annotations

import math

from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError

#: Share by which a map's metres may differ from those on the ground and still be taken for them: UTM's and national
#: grids' do by up to 0.3 %.
_NEGLIGIBLE = 0.01

#: Significant digits of a size that was measured on the ground.
_DIGITS = 4


def gsd_m_of(geobox: GeoBox) -> float | None:
    """Measure the ground sampling distance of a grid at its centre: the longer side of a pixel.

    Metres of Web Mercator are longer than those on the ground, and degrees are no length; both are converted.

    Parameters
    ----------
    geobox
        Grid.

    Returns
    -------
    float | None
        Metres on the ground; None for a grid without a place on Earth.

    Examples
    --------
    >>> gsd_m_of(GeoBox.from_bbox((500000, 5300000, 500100, 5300100), crs="EPSG:32633", resolution=10))
    10.0

    """
    sides = pixel_sides_m(geobox)
    return None if sides is None else max(sides)


def pixel_sides_m(geobox: GeoBox) -> tuple[float, float] | None:
    """Measure the pixel at a grid's centre on the ground.

    Parameters
    ----------
    geobox
        Grid.

    Returns
    -------
    tuple[float, float] | None
        Width and height, metres; None for a grid without a place on Earth.

    """
    crs = geobox.crs
    if crs is None:
        return None
    nominal = _nominal_sides_m(geobox, crs)
    measured = _measured_sides_m(geobox, crs)
    if measured is None or nominal is None:
        return measured or nominal
    if all(abs(own / true - 1) < _NEGLIGIBLE for own, true in zip(nominal, measured, strict=True)):
        return nominal
    return measured


def described_size(geobox: GeoBox) -> str:
    """The size of a grid's pixels in words, as ``10 m``, or ``20.03 × 30.06 m`` where its sides differ."""
    width, height = pixel_sides_m(geobox) or (math.nan, math.nan)
    if abs(width / height - 1) < _NEGLIGIBLE:
        return f"{max(width, height):g} m"
    return f"{width:g} × {height:g} m"


def _nominal_sides_m(geobox: GeoBox, crs: CRS) -> tuple[float, float] | None:
    """Sides as the CRS's unit of length tells them; None where it has none."""
    if not crs.projected:
        return None
    unit_m = float(crs.proj.axis_info[0].unit_conversion_factor)
    a, b, _, d, e, _ = geobox.affine[:6]
    return math.hypot(a, d) * unit_m, math.hypot(b, e) * unit_m


def _measured_sides_m(geobox: GeoBox, crs: CRS) -> tuple[float, float] | None:
    """Geodesic sides of the pixel at the centre; None where the CRS does not lead to an ellipsoid."""
    try:
        geod, datum = crs.proj.get_geod(), crs.proj.geodetic_crs
        if not isinstance(geod, Geod) or datum is None:
            return None
        rows, cols = geobox.shape
        # Degrees count from 90° N to 90° S: a pixel at a pole has a neighbour on one side only.
        corners = [(cols / 2, rows / 2), (cols / 2 + 1, rows / 2), (cols / 2, rows / 2 + 1)]
        xs, ys = zip(*(geobox.affine * corner for corner in corners), strict=True)
        lon, lat = Transformer.from_crs(crs.proj, datum, always_xy=True).transform(xs, ys)
        sides = tuple(geod.inv(lon[0], lat[0], lon[i], lat[i])[2] for i in (1, 2))
    except ProjError:
        return None
    if not all(math.isfinite(side) and side > 0 for side in sides):
        return None
    width, height = (float(f"{side:.{_DIGITS}g}") for side in sides)
    return width, height
