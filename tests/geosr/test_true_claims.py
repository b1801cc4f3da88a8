"""Tags, Item and layers are true of their product."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest
import rasterio
import xarray as xr

import geosr
from catalog.inherited_tags import holds_for_result
from catalog.strict_json import to_json
from tests.conftest import call_geosr, write_raster

COMPANIONS = (".aux.xml", ".msk", ".ovr")


def upscale(source, output, *more):
    return call_geosr("upscale", source, "-o", output, "--model", "bicubic", "-q", *more)


def test_what_lay_beside_a_replaced_output_goes_with_it(tmp_path, sample):
    output = tmp_path / "out.tif"
    first = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    second = write_raster(tmp_path / "b.tif", sample[:, 8:16, :8])
    assert upscale(first, output) == 0
    for ending in COMPANIONS:
        (tmp_path / f"out.tif{ending}").write_text("<PAMDataset/>")
        os.utime(tmp_path / f"out.tif{ending}", (10**9, 10**9))
    assert upscale(second, output, "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "out.json", "out.tif"]


def test_what_a_viewer_keeps_beside_a_product_stays(tmp_path, sample):
    output, source = tmp_path / "out.tif", write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    assert upscale(source, output) == 0
    statistics = tmp_path / "out.tif.aux.xml"
    statistics.write_text("<PAMDataset/>")
    later = output.stat().st_mtime + 10
    os.utime(statistics, (later, later))
    assert upscale(source, output) == 0
    assert statistics.exists()


def test_strays_that_would_be_read_with_a_product_are_not_removed_unasked(tmp_path, sample, capsys):
    output, source = tmp_path / "out.tif", write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    (tmp_path / "out.tif.msk").write_bytes(b"a mask")
    assert upscale(source, output) == 1
    assert "out.tif.msk exists and would be read with" in capsys.readouterr().err
    assert not output.exists()
    assert upscale(source, output, "--overwrite") == 0
    assert not (tmp_path / "out.tif.msk").exists()


def test_products_do_not_inherit_what_was_true_of_the_sources_pixels_alone(tmp_path, sample):
    source = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    with rasterio.open(source, "r+") as raster:
        raster.update_tags(TIFFTAG_XRESOLUTION="10", NROWS="8", STATISTICS_MEAN="1", GEOSR_MODEL="x", AUTHOR="me")
    assert upscale(source, tmp_path / "out.tif") == 0
    with rasterio.open(tmp_path / "out.tif") as raster:
        tags = raster.tags()
    assert tags["AUTHOR"] == "me"
    assert tags["GEOSR_MODEL"] == "bicubic"
    assert not {"TIFFTAG_XRESOLUTION", "NROWS", "STATISTICS_MEAN"} & set(tags)


def test_arrays_do_not_inherit_what_was_true_of_the_sources_pixels_alone(sample):
    bands = ["B02", "B03", "B04", "B08"]
    da = xr.DataArray(
        sample[:, :16, :16],
        dims=("band", "y", "x"),
        coords={
            "band": bands,
            "y": 5e6 - 10 * np.arange(16.0),
            "x": 4e5 + 10 * np.arange(16.0),
            "gsd": 10,
            "proj:shape": ((), object()),
            "platform": "sentinel-2a",
            "title": ("band", list("abcd")),
        },
        attrs={
            "GEOSR_CONSISTENCY_DN": "B02 1",
            "GEOSR_NOTES": "of another product",
            "STATISTICS_MAXIMUM": 3,
            "TIFFTAG_XRESOLUTION": "10",
            "actual_range": [1, 2],
            "proj:transform": [10, 0, 0],
            "spec": "RasterSpec",
            "band_tags": [{"STATISTICS_MEAN": "1", "wavelength": str(i)} for i in range(4)],
            "AUTHOR": "me",
        },
    )
    result = geosr.upscale(da, "bicubic")
    assert result.attrs == {"AUTHOR": "me", "band_tags": [{"wavelength": str(i)} for i in range(4)]}
    assert set(result.coords) >= {"band", "platform", "title"}
    assert not {"gsd", "proj:shape"} & set(result.coords)


def test_names_of_what_does_not_hold_are_known_whatever_their_case():
    assert not holds_for_result("Statistics_Mean")
    assert not holds_for_result("PROJ:BBOX")
    assert holds_for_result("STATION")
    assert holds_for_result(3)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"a": math.nan, "b": [math.inf, -math.inf, 1.5]}, '{"a": null, "b": [null, null, 1.5]}'),
        ([{"a": (math.nan, 2)}, "NaN", None], '[{"a": [null, 2]}, "NaN", null]'),
    ],
)
def test_json_has_neither_nan_nor_infinities(content, text):
    assert to_json(content) == text


@pytest.mark.parametrize("nodata", [math.nan, math.inf, -math.inf])
def test_the_item_of_a_product_is_strict_json_whatever_nodata_is(tmp_path, sample, nodata):
    pixels = sample[:, :8, :8].astype(np.float32) / 10000
    source = write_raster(tmp_path / "a.tif", pixels, nodata=nodata)
    assert upscale(source, tmp_path / "out.tif") == 0
    text = (tmp_path / "out.json").read_text()

    def refuse(name):
        raise AssertionError(f"{name} in the Item")

    assert json.loads(text, parse_constant=refuse)["assets"]["data"]["nodata"] == str(nodata)
