"""Areas of one and of many Items, on their grid or on another."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.windows import Window

from catalog import (
    AreaError,
    RequestError,
    SceneRequest,
    open_scene,
    parse_bbox,
)
from tests.catalog.scenes import DAY, bbox_of, pixels_of
from tests.stac_items import serve, write_item


def test_an_area_over_two_zones_is_put_into_that_of_its_centre(tmp_path, sample):
    # 12° E divides zones 32 and 33; both Items lie across it.
    east = write_item(tmp_path, "east", sample, left=276000, top=5300000, epsg=32633)
    centre = (
        GeoBox((300, 300), Affine(10, 0, 276000, 0, -10, 5300000), "EPSG:32633")
        .footprint("EPSG:4326")
        .centroid.coords[0]
    )
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(*centre)
    west = write_item(tmp_path, "west", sample, left=round(x, -1) - 3500, top=round(y, -1) + 1500, epsg=32632)
    lat = centre[1]
    with serve(tmp_path, east, west) as api:
        scene = open_scene(
            SceneRequest(area=shapely.box(11.995, lat - 0.004, 12.012, lat + 0.004), datetime=DAY, api=api)
        )
    assert scene.geobox.crs.to_epsg() == 32633
    assert any("spans UTM zones" in note for note in scene.notes)
    _, valid = pixels_of(scene)
    assert valid.mean() > 0.99


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3857", "EPSG:4326"])
def test_resampled_pixels_do_not_depend_on_the_window(tmp_path, sample, crs):
    item = write_item(tmp_path, "one", sample, scl=np.full((150, 150), 4, np.uint8))
    scene = open_scene(SceneRequest(str(item), crs=crs, mask_clouds=True))
    whole, valid = pixels_of(scene)
    assert valid.any()
    for window in (Window(40, 50, 61, 73), Window(0, 0, 33, 20), Window(150, 100, 90, 120)):
        part, part_valid = scene.reader.read(window)
        rows, cols = window.toslices()
        assert (part == whole[:, rows, cols]).all()
        assert (part_valid == valid[:, rows, cols]).all()


def test_resampling_is_that_of_gdal(tmp_path, sample):
    item = write_item(tmp_path, "one", sample)
    scene = open_scene(SceneRequest(str(item), crs="EPSG:32632"))
    ours, _ = pixels_of(scene)
    theirs = np.zeros_like(ours)
    rasterio.warp.reproject(
        sample,
        theirs,
        src_transform=Affine(10, 0, 300000, 0, -10, 5400000),
        src_crs="EPSG:32633",
        dst_transform=scene.geobox.affine,
        dst_crs="EPSG:32632",
        resampling=rasterio.warp.Resampling.cubic,
        src_nodata=0,
        dst_nodata=0,
        XSCALE="1",
        YSCALE="1",
    )
    both = (ours > 0) & (theirs > 0)
    assert both.mean() > 0.8
    assert np.percentile(np.abs(ours.astype(int) - theirs.astype(int))[both], 99) <= 8


def test_a_crs_of_the_users_is_resampled_and_said(tmp_path, sample):
    item = write_item(tmp_path, "one", sample)
    scene = open_scene(SceneRequest(str(item), crs="EPSG:32632"))
    assert scene.geobox.crs.to_epsg() == 32632
    assert any("resampled (cubic)" in note for note in scene.notes)
    _, valid = pixels_of(scene)
    assert 0.5 < valid.mean() < 1


def test_an_area_that_items_cover_in_part_is_said(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :100, :100])
    area = parse_bbox(bbox_of(Window(50, 0, 100, 100)))
    scene = open_scene(SceneRequest(str(item), area=area))
    assert any(re.search(r"cover [45]\d % of the area", note) for note in scene.notes)
    assert scene.area.col_off + scene.area.width == 100


def test_an_area_beside_the_item(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :100, :100])
    with pytest.raises(AreaError, match="do not touch the area"):
        open_scene(SceneRequest(str(item), area=parse_bbox(bbox_of(Window(500, 0, 100, 100)))))


@pytest.mark.parametrize("box", ["-180,-90,180,90", "-170,-80,175,85"])
def test_areas_far_larger_than_the_items(tmp_path, sample, box):
    item = write_item(tmp_path, "one", sample[:, :40, :50])
    scene = open_scene(SceneRequest(str(item), area=parse_bbox(box)))
    assert scene.geobox.crs.to_epsg() == 32633
    assert (scene.area.width, scene.area.height) == (50, 40)
    assert any("cover 0 % of the area" in note for note in scene.notes)


@pytest.mark.parametrize("crs", ["EPSG:5773", "EPSG:4978", "EPSG:32633+5773", "nonsense", "EPSG:x"])
def test_what_is_not_a_crs_of_maps(tmp_path, sample, crs):
    item = write_item(tmp_path, "one", sample[:, :40, :50])
    with pytest.raises(RequestError, match="CRS"):
        open_scene(SceneRequest(str(item), crs=crs))
