"""Sizes of pixels on the ground, where the CRS's unit is not the ground's metre."""

from __future__ import annotations

import json

import pytest
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from catalog import SceneRequest, open_scene
from catalog.pixel_size import described_size, gsd_m_of, pixel_sides_m
from tests.conftest import run_here, write_raster
from tests.stac_items import write_item


def at(lon: float, lat: float, crs: str, side: float, count: int = 100) -> GeoBox:
    """A grid around a place."""
    (x,), (y,) = transform("EPSG:4326", crs, [lon], [lat])
    return GeoBox((count, count), from_origin(x - side * count / 2, y + side * count / 2, side, side), crs)


@pytest.mark.parametrize(
    ("grid", "sides"),
    [
        (at(15, 48, "EPSG:32633", 10), (10, 10)),
        (at(18, 60, "EPSG:32633", 10), (10, 10)),
        (at(15, 0, "EPSG:3857", 20), (20, 20)),
        (at(15, 60, "EPSG:3857", 20), (10.03, 10.01)),
        (at(15, 0, "EPSG:4326", 0.0001), (11.13, 11.06)),
        (at(15, 60, "EPSG:4326", 0.0001), (5.58, 11.14)),
        (at(0, 90, "EPSG:3413", 10), (10.31, 10.31)),
        (at(0, 52, "EPSG:3035", 10), (10, 10)),
        # A global grid, whose centre is on the equator.
        (GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326"), (1113000, 1106000)),
        # Feet.
        (at(-74, 40.7, "EPSG:2263", 10), (3.048006, 3.048006)),
        # Degrees on Mars.
        (GeoBox((10, 10), Affine(0.001, 0, 10, 0, -0.001, 10), "IAU_2015:49900"), (58.27, 59.27)),
    ],
)
def test_sides_are_those_on_the_ground(grid, sides):
    assert pixel_sides_m(grid) == pytest.approx(sides, rel=5e-3)
    assert gsd_m_of(grid) == pytest.approx(max(sides), rel=5e-3)


def test_grids_without_a_place_have_no_size_on_the_ground():
    assert gsd_m_of(GeoBox((4, 4), Affine(10, 0, 0, 0, -10, 0), None)) is None
    site = 'ENGCRS["site",EDATUM["peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    assert gsd_m_of(GeoBox((4, 4), Affine(10, 0, 0, 0, -10, 0), site)) is None


def test_sides_that_differ_are_both_described():
    assert described_size(at(15, 48, "EPSG:32633", 10)) == "10 m"
    assert described_size(at(15, 60, "EPSG:4326", 0.0001)) == "5.58 × 11.14 m"


def test_a_scene_in_web_mercator_is_measured_on_the_ground(tmp_path, sample):
    (x,), (y,) = transform("EPSG:4326", "EPSG:3857", [15], [60])
    ten = write_raster(tmp_path / "a.tif", sample[:, :8, :8], crs="EPSG:3857", transform=from_origin(x, y, 20, 20))
    scene = open_scene(SceneRequest(str(ten)))
    assert [band.gsd_m for band in scene.bands] == pytest.approx([10] * 4, rel=5e-3)
    assert not any("pixels of" in note for note in scene.notes)
    five = write_raster(tmp_path / "b.tif", sample[:, :8, :8], crs="EPSG:3857", transform=from_origin(x, y, 10, 10))
    assert any(note.startswith("pixels of 5.0") for note in open_scene(SceneRequest(str(five))).notes)


@pytest.mark.parametrize("gsd_m", [20, 30])
def test_bands_of_an_item_have_the_size_of_the_pixels_that_are_read(tmp_path, sample, gsd_m):
    path = write_item(tmp_path, "coarse", sample[:, :8, :8])
    content = json.loads(path.read_text())
    for i, asset in enumerate(content["assets"].values()):
        grid = from_origin(300000, 5400000, gsd_m, gsd_m)
        asset["href"] = str(write_raster(tmp_path / f"{i}.tif", sample[i : i + 1, :8, :8], names=(), transform=grid))
        asset["proj:transform"] = list(grid)[:6]
    path.write_text(json.dumps(content))
    scene = open_scene(SceneRequest(str(path)))
    assert [band.gsd_m for band in scene.bands] == [gsd_m] * 4


def test_a_product_claims_the_size_of_its_pixels_on_the_ground(tmp_path, sample):
    (x,), (y,) = transform("EPSG:4326", "EPSG:3857", [15], [60])
    source = write_raster(tmp_path / "a.tif", sample[:, :8, :8], crs="EPSG:3857", transform=from_origin(x, y, 20, 20))
    done = run_here("upscale", source, "-o", tmp_path / "out.tif", "--model", "backprojection")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["properties"]["gsd"] == pytest.approx(2.5, rel=5e-3)
