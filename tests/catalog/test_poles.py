"""Footprints of grids that hold a pole."""

from __future__ import annotations

import json

import pytest
import shapely
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from catalog.area import covered_share, footprint_of, window_of
from catalog.poles import polar_footprint
from tests.conftest import assert_valid_item, run_here, write_raster


def grid(x: float, y: float, crs: str = "EPSG:3413", side: float = 10, count: int = 48) -> GeoBox:
    return GeoBox((count, count), from_origin(x, y, side, side), crs)


@pytest.mark.parametrize(
    ("geobox", "pole"),
    [
        (grid(-240, 240), 90),
        (grid(-200, 100), 90),
        (grid(-475, 475), 90),
        (grid(-240, 240, "EPSG:3031"), -90),
        (grid(-2e6, 2e6, side=1e5, count=40), 90),
        (grid(3e6, 9e6, "EPSG:3035", side=1e5, count=40), 90),
    ],
)
def test_a_grid_around_a_pole_has_all_longitudes_up_to_it(geobox, pole):
    outline = footprint_of(geobox, npoints=12)
    west, south, east, north = outline.bounds
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    assert outline.is_valid
    # Points of the grid are inside, points beside it are not.
    inner, outer = geobox.pad(-2).extent.to_crs("EPSG:4326").geom, geobox.pad(3).extent.to_crs("EPSG:4326").geom
    for x, y in shapely.get_coordinates(inner):
        assert outline.covers(shapely.Point(x, y))
    for x, y in shapely.get_coordinates(outer):
        assert not outline.covers(shapely.Point(x, y))


def test_a_grid_with_the_pole_at_its_corner_has_a_quarter_of_the_longitudes():
    outline = footprint_of(grid(0, 0), npoints=12)
    west, _, east, north = outline.bounds
    assert (west, east, north) == pytest.approx((-45, 45, 90), abs=1e-6)


@pytest.mark.parametrize(("x", "y", "middle"), [(-240, 0, -45), (-240, 480, 135), (0, 240, 45), (-480, 240, -135)])
def test_a_grid_with_the_pole_on_an_edge_has_half_of_the_longitudes(x, y, middle):
    outline = footprint_of(grid(x, y), npoints=12)
    assert outline.bounds[3] == 90
    assert outline.covers(shapely.Point(middle, 89.9999))
    opposite = middle - 180 if middle > 0 else middle + 180
    assert not outline.covers(shapely.Point(opposite, 89.9999))
    beside = [outline.covers(shapely.Point((middle + turn + 180) % 360 - 180, 89.9999)) for turn in (-85, 85, -95, 95)]
    assert beside == [True, True, False, False]


@pytest.mark.parametrize(
    "geobox",
    [
        grid(500, 500),
        grid(400000, 5300000, "EPSG:32633"),
        GeoBox((18, 36), from_origin(-180, 90, 10, 10), "EPSG:4326"),
        # Cylindrical: the pole is the upper edge.
        GeoBox((20, 40), from_origin(-2e7, 1.00187e7, 1e6, 1e6), "EPSG:4087"),
        GeoBox((4, 4), from_origin(0, 0, 1, 1), None),
    ],
)
def test_other_grids_hold_no_pole(geobox):
    assert polar_footprint(geobox, 12) is None


def test_an_area_is_found_beside_the_pole():
    geobox = grid(-24000, 24000, side=1000)
    area = shapely.box(-180, 89.9, 180, 90)
    window = window_of(area, geobox, "the grid")
    assert (window.width, window.height) == pytest.approx((23, 23), abs=2)
    assert covered_share(area, geobox) == pytest.approx(1)


def test_the_item_of_a_product_over_the_pole_says_so(tmp_path, sample):
    source = write_raster(
        tmp_path / "a.tif", sample[:, :8, :8], crs="EPSG:3413", transform=from_origin(-40, 40, 10, 10)
    )
    done = run_here("upscale", source, "-o", tmp_path / "out.tif", "--model", "backprojection")
    assert done.returncode == 0, done.stderr
    item = json.loads((tmp_path / "out.json").read_text())
    assert item["bbox"][0::2] == [-180, 180]
    assert item["bbox"][3] == 90
    assert shapely.geometry.shape(item["geometry"]).covers(shapely.Point(77, 90))
    assert_valid_item(tmp_path / "out.json")
