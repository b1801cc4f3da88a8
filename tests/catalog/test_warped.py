"""Rasters on the grid of another CRS: right values in the right place, the same in any window."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from catalog import CatalogError, SceneRequest, open_scene
from tests.conftest import RGBN, write_raster

LEFT, TOP = 430000, 5340400


@pytest.fixture
def smooth():
    """Hills in each band, and a hole."""
    rows, cols = np.mgrid[:60, :80]
    pixels = np.stack([1000 * (i + 1) + 200 * np.sin(rows / 9 + i) + 300 * np.cos(cols / 11) for i in range(4)])
    pixels = pixels.astype(np.uint16)
    pixels[:, 20:24, 30:34] = 0
    return pixels


@pytest.fixture
def raster(tmp_path, smooth):
    return write_raster(tmp_path / "in.tif", smooth, nodata=0, transform=from_origin(LEFT, TOP, 10, 10))


@pytest.mark.parametrize("crs", ["EPSG:31287", "EPSG:3857", "EPSG:4326", "EPSG:32632"])
def test_values_are_those_of_gdal(raster, smooth, crs):
    scene = open_scene(SceneRequest(str(raster), crs=crs))
    assert scene.geobox.crs == crs
    assert any("resampled (cubic)" in note for note in scene.notes)
    pixels, valid = scene.reader.read(scene.area)
    expected = np.zeros(pixels.shape, np.float32)
    reproject(
        smooth.astype(np.float32),
        expected,
        src_transform=from_origin(LEFT, TOP, 10, 10),
        src_crs="EPSG:32633",
        dst_transform=scene.geobox.affine,
        dst_crs=crs,
        src_nodata=0,
        dst_nodata=0,
        resampling=Resampling.cubic,
        tolerance=0,
    )
    # Beside holes and rims the two weigh what is left differently.
    inner = valid.all(axis=0) & (expected > 0).all(axis=0)
    for shift in ((0, 2), (0, -2), (2, 0), (-2, 0)):
        inner &= np.roll(valid.all(axis=0), shift, axis=(0, 1))
    assert inner.sum() > 2000
    assert np.abs(pixels - expected)[:, inner].max() <= 2
    ground = GeoBox((60, 80), from_origin(LEFT, TOP, 10, 10), "EPSG:32633").extent.to_crs(crs)
    pixel = abs(scene.geobox.resolution.x * scene.geobox.resolution.y)
    assert valid[0].sum() * pixel == pytest.approx(ground.geom.area * (1 - 16 / 4800), rel=0.02)


def test_windows_meet(raster):
    scene = open_scene(SceneRequest(str(raster), crs="EPSG:31287"))
    whole, valid = scene.reader.read(scene.area)
    for window in (Window(0, 0, 7, 9), Window(31, 22, 20, 13), Window(3, 40, 50, 5)):
        pixels, known = scene.reader.read(window)
        assert (pixels == whole[:, *window.toslices()]).all()
        assert (known == valid[:, *window.toslices()]).all()


def test_a_part_in_another_order(raster):
    scene = open_scene(SceneRequest(str(raster), crs="EPSG:31287"))
    whole, _ = scene.reader.read(scene.area)
    assert (scene.select(("B03", "B08")).reader.read(scene.area)[0] == whole[[1, 3]]).all()


def test_its_own_crs_is_no_change(raster):
    scene = open_scene(SceneRequest(str(raster), crs="EPSG:32633"))
    with rasterio.open(raster) as source:
        assert (scene.reader.read(scene.area)[0] == source.read()).all()
    assert not any("resampled" in note for note in scene.notes)


def test_runs_in_another_crs_are_other_runs(raster):
    identities = [open_scene(SceneRequest(str(raster), crs=crs)).identity for crs in (None, "EPSG:31287", "EPSG:3857")]
    assert len({str(identity) for identity in identities}) == 3


@pytest.mark.parametrize(
    ("crs", "options", "message"),
    [
        ("EPSG:32633x", {}, "not a CRS"),
        ("EPSG:5773", {}, "is not a CRS of maps"),
        ("EPSG:32633", {"crs": None}, "has no CRS"),
        ("EPSG:31287", {"names": ("B02", "B03", "B04", "B08"), "transform": from_origin(LEFT, -TOP, 10, 10)}, "EPSG"),
    ],
)
def test_wrong_input(tmp_path, smooth, crs, options, message):
    form = {"names": RGBN, "transform": from_origin(LEFT, TOP, 10, 10), **options}
    path = write_raster(tmp_path / "in.tif", smooth, **form)
    with pytest.raises(CatalogError, match=message):
        open_scene(SceneRequest(str(path), crs=crs))
