"""Footprints of results: on Earth, across the antimeridian, or nowhere."""

from __future__ import annotations

import pytest
import shapely
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.transform import Affine

from catalog import Result, SceneRequest, item_of_result, open_scene
from tests.conftest import SAMPLE

BUILDING_SITE = 'LOCAL_CS["Site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
MARS = (
    'GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000_IAU_IAG",3396190.0,169.89444722361179]],'
    'PRIMEM["Greenwich",0],UNIT["Decimal_Degree",0.0174532925199433]]'
)


def item_on(affine, crs, shape=(300, 400)):
    result = Result("out.tif", GeoBox(shape, affine, crs), "uint16", 0, {"geosr": "0"}, "made", {})
    return item_of_result(open_scene(SceneRequest(str(SAMPLE))), result)


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        (Affine(10, 0, 0, 0, -10, 0), CRS.from_wkt(BUILDING_SITE)),
        (Affine(0.001, 0, 10, 0, -0.001, 10), CRS.from_wkt(MARS)),
        (Affine(1e9, 0, 1e15, 0, -1e9, 1e15), "EPSG:3035"),
    ],
)
def test_grids_without_a_place_on_earth_have_no_footprint(affine, crs):
    item = item_on(affine, crs)
    assert item.geometry is None
    assert item.bbox is None
    assert item.properties["proj:shape"] == [300, 400]


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        (Affine(10, 0, 818700, 0, -10, 8196000), "EPSG:32760"),
        (Affine(0.001, 0, 179.8, 0, -0.001, 10), "EPSG:4326"),
        (Affine(0.001, 0, -180.2, 0, -0.001, 10), "EPSG:4326"),
    ],
)
def test_boxes_across_the_antimeridian_begin_in_the_west(affine, crs):
    item = item_on(affine, crs)
    west, south, east, north = item.bbox
    assert 179 < west < 180
    assert -180 < east < -179
    assert south < north
    geometry = shapely.geometry.shape(item.geometry)
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.bounds[0] == -180
    assert geometry.bounds[2] == 180
    assert geometry.area < 0.2


@pytest.mark.parametrize(
    ("affine", "shape", "bounds"),
    [
        (Affine(1, 0, -180, 0, -1, 90), (180, 360), (-180, -90, 180, 90)),
        (Affine(0.01, 0, 14, 0, -0.01, 48), (100, 200), (14, 47, 16, 48)),
        (Affine(0.01, 0, 178, 0, -0.01, 48), (100, 200), (178, 47, 180, 48)),
    ],
)
def test_other_boxes_are_as_wide_as_the_grid(affine, shape, bounds):
    item = item_on(affine, "EPSG:4326", shape)
    assert item.bbox == pytest.approx(bounds)
    assert shapely.geometry.shape(item.geometry).bounds == pytest.approx(bounds)
