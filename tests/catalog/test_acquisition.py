"""When a raster was acquired: by its metadata, its product's name or the user, and never by the file's clock."""

from __future__ import annotations

import datetime as dt
import json
import os

import pytest
import rasterio

from catalog import RequestError, SceneRequest, open_scene, parse_acquired
from tests.conftest import assert_valid_item, call_geosr, write_raster
from tests.safe_product import write_safe
from tests.stac_items import write_item

TIME = dt.datetime(2023, 8, 15, 10, 0, 31, tzinfo=dt.UTC)
DAY = (dt.datetime(2023, 8, 15, tzinfo=dt.UTC), dt.datetime(2023, 8, 15, 23, 59, 59, tzinfo=dt.UTC))


def write(path, sample, band_tags=None, namespace=None, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_raster(path, sample[:, :8, :8])
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(ns=namespace, **tags)
        for number, own in (band_tags or {}).items():
            raster.update_tags(number, **own)
    # The clock of the file is that of a copy.
    os.utime(path, (10**9, 10**9))
    return path


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


@pytest.mark.parametrize(
    "tags",
    [
        {"TIFFTAG_DATETIME": "2023:08:15 10:00:31"},
        {"SENSING_TIME": "2023-08-15T10:00:31.0000000Z"},
        {"ACQUISITIONDATETIME": "2023-08-15 10:00:31", "namespace": "IMAGERY"},
        {"DATATAKE_1_DATATAKE_SENSING_START": "2023-08-15T10:00:31Z"},
        {"PRODUCT_START_TIME": "2023-08-15T10:00:31.000Z", "GENERATION_TIME": "2023-08-15T15:45:02.000Z"},
        {"system:time_start": "1692093631000"},
        {"DATE_ACQUIRED": "2023-08-15", "SCENE_CENTER_TIME": "10:00:31.0000000Z"},
        {"acquired": "2023-08-15T12:00:31+02:00"},
        # What the tag of TIFF says is when the file was made, as soon as anything else is known.
        {"acquired": "2023-08-15T10:00:31Z", "TIFFTAG_DATETIME": "2024:01:01 00:00:00"},
    ],
)
def test_metadata_tell_the_time(tmp_path, sample, tags):
    scene = opened(write(tmp_path / "a.tif", sample, **tags))
    assert (scene.datetime, scene.period) == (TIME, None)
    assert any("TIFFTAG_DATETIME" in note for note in scene.notes) == (set(tags) == {"TIFFTAG_DATETIME"})


def test_bands_tell_the_time_together(tmp_path, sample):
    same = {number: {"ACQUISITION_DATETIME": "2023-08-15T10:00:31Z"} for number in range(1, 5)}
    assert opened(write(tmp_path / "a.tif", sample, same)).datetime == TIME
    same[4] = {"ACQUISITION_DATETIME": "2023-08-20T10:00:31Z"}
    scene = opened(write(tmp_path / "b.tif", sample, same))
    assert (scene.datetime, scene.period) == (None, (TIME, dt.datetime(2023, 8, 20, 10, 0, 31, tzinfo=dt.UTC)))


@pytest.mark.parametrize(
    "name",
    [
        "S2B_MSIL2A_20230815T100031_N0509_R122_T33UUP_20230815T140000.tif",
        "S2B_MSIL2A_20230815T100031_N0509_R122_T33UUP_20230815T140000.SAFE/stack.tif",
        "T33UUP_20230815T100031_B02_10m.tif",
        "HLS.S30.T33UUP.2023227T100031.v2.0.B04.tif",
        "20230815_100031_12_2414_3B_AnalyticMS_SR.tif",
    ],
)
def test_names_of_products_tell_the_time(tmp_path, sample, name):
    assert opened(write(tmp_path / name, sample, TIFFTAG_DATETIME="2024:01:01 00:00:00")).datetime == TIME


@pytest.mark.parametrize("name", ["S2B_33UUP_20230815_0_L2A.tif", "LC09_L2SP_190026_20230815_20230817_02_T1_SR_B4.TIF"])
def test_names_with_a_day_tell_a_period(tmp_path, sample, name):
    scene = opened(write(tmp_path / name, sample))
    assert (scene.datetime, scene.period) == (None, DAY)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("a.tif", {}),
        ("a.tif", {"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}),
        ("a.tif", {"TIFFTAG_DATETIME": "some day"}),
        ("a.tif", {"acquired": "1899-12-31T00:00:00Z"}),
        ("a.tif", {"acquired": "2999-12-31T00:00:00Z"}),
        ("a.tif", {"acquired": "9999-12-31T23:59:59-10:00"}),
        ("report_20230815.tif", {}),
    ],
)
def test_what_is_no_time_of_acquisition_is_none(tmp_path, sample, name, tags):
    scene = opened(write(tmp_path / name, sample, **tags))
    assert (scene.datetime, scene.period) == (None, None)


def test_what_the_user_says_comes_first(tmp_path, sample):
    path = write(tmp_path / "a.tif", sample, TIFFTAG_DATETIME="2024:01:01 00:00:00")
    scene = opened(path, acquired=parse_acquired("2023-08-15T10:00:31"))
    assert scene.datetime == TIME
    assert not any("TIFFTAG_DATETIME" in note for note in scene.notes)
    assert opened(path, acquired=parse_acquired("2023-08-15")).period == DAY
    for text in ("yesterday", "2023-13-01", "1850-01-01", ""):
        with pytest.raises(RequestError, match="not a time of acquisition"):
            parse_acquired(text)


def test_products_and_items_tell_their_time_themselves(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.09")
    item = write_item(tmp_path / "stac", "one", sample[:, :8, :8])
    for source in (product, item):
        with pytest.raises(RequestError, match="--acquired would have no effect"):
            opened(source, acquired=parse_acquired("2023-08-15"))


@pytest.mark.parametrize(
    ("options", "time"),
    [
        ((), (None, "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z")),
        (("--acquired", "2023-08-15"), (None, "2023-08-15T00:00:00Z", "2023-08-15T23:59:59Z")),
        (("--acquired", "2023-08-15T10:00:31Z"), ("2023-08-15T10:00:31Z", None, None)),
    ],
)
def test_the_item_of_a_product_has_the_time_of_acquisition(tmp_path, sample, options, time):
    source, output = write(tmp_path / "a.tif", sample), tmp_path / "out.tif"
    assert call_geosr("upscale", source, "-o", output, "--model", "backprojection", *options) == 0
    properties = json.loads((tmp_path / "out.json").read_text())["properties"]
    assert tuple(properties.get(name) for name in ("datetime", "start_datetime", "end_datetime")) == time
    assert_valid_item(tmp_path / "out.json")
