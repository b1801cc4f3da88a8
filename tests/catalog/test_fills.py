"""Fills that nothing declares: few pixels of impossible values, masses at plausible ones, parts not sampled."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from catalog import SceneRequest, SourceError, open_scene
from catalog.fills import shortest, stray_fills
from geosr.run.pipeline import super_resolve
from tests.conftest import RGBN, write_raster
from tests.faults.runs import Disturbed
from tests.geosr.test_resume import request
from tests.stac_items import write_item
from tests.upscaling import upscale_request


@pytest.fixture
def dn(sample):
    """Whole DN of reflectance × 10000, all above 0."""
    return sample[:, :40, :40].clip(1)


def opened(folder, pixels, dtype, **options):
    return open_scene(SceneRequest(str(write_raster(folder / "a.tif", pixels.astype(dtype), **options))))


@pytest.mark.parametrize("fill", [9999, -777, -1e20, 1e20])
@pytest.mark.parametrize("count", [1, 3])
def test_a_single_pixel_of_an_impossible_value_is_named(tmp_path, dn, fill, count):
    pixels = dn / 10000
    pixels[2, 7, :count] = fill
    with pytest.raises(SourceError, match=rf"B04: .* are {fill:g}, which nothing declares".replace("+", r"\+")):
        opened(tmp_path, pixels, "float32")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int16", -1), ("int16", -50), ("uint16", 10000), ("float32", 1.0), ("float32", -0.001), ("float64", 0.9)],
)
def test_a_mass_at_a_plausible_end_is_noted(tmp_path, dn, dtype, value):
    pixels = (dn / 10000 if dtype.startswith("float") else dn).astype(dtype)
    pixels[:, :, :10] = value
    notes = " ".join(opened(tmp_path, pixels, dtype).notes)
    assert f"25 % of the pixels are {value:.10g}, which nothing declares as nodata: give --nodata {value:.10g}" in notes


def test_values_of_32_bits_are_written_short():
    assert [shortest(float(np.float32(v))) for v in (-0.001, 1e20, -1 / 3)] == ["-0.001", "1e+20", "-0.33333334"]
    assert [shortest(v) for v in (-9999.0, -(2.0**31), 0.1)] == ["-9999", "-2147483648", "0.1"]


def test_clouds_that_are_clipped_are_not_noted(tmp_path, dn):
    pixels = (dn.astype(np.int32) * 5).clip(1, 9000)
    assert (pixels == 9000).mean() > 0.02
    assert not [note for note in opened(tmp_path, pixels, "uint16").notes if "nodata" in note]


def test_a_scale_that_is_the_usual_one_is_not_advised(tmp_path, dn):
    with pytest.raises(SourceError) as caught:
        opened(tmp_path, dn.astype(np.int32) * 100, "int32")
    assert "give the right ones, with which land comes to about 0.05 to 0.5" in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "fill"), [("int16", -9999), ("float32", -9999), ("float32", -1e20), ("int32", -5000)]
)
def test_a_fill_that_the_sample_missed_is_named_when_its_part_is_read(tmp_path, dn, dtype, fill):
    pixels = (dn / 10000 if dtype == "float32" else dn).astype(dtype)
    scene = opened(tmp_path, pixels, dtype)
    valid = np.ones(pixels.shape, bool)
    assert stray_fills(scene, pixels, valid) == []
    pixels[1, :3, :30] = fill
    with pytest.raises(SourceError, match=rf"has a part in which B03: .* are {fill:g}, which".replace("+", r"\+")):
        stray_fills(scene, pixels, valid)
    valid[1, :3, :30] = False
    assert stray_fills(scene, pixels, valid) == []


def test_saturated_pixels_of_a_part_are_noted(tmp_path, dn):
    scene, pixels = opened(tmp_path, dn, "uint16"), dn.copy()
    pixels[0, :10, :10] = 65535
    valid = np.ones(pixels.shape, bool)
    assert [note[:64] for note in stray_fills(scene, pixels, valid)] == [
        "in a part of the image, B02: 6.2 % of the pixels are 65535, whic"
    ]


def test_outliers_of_a_part_are_no_fill(tmp_path, dn):
    scene, pixels = opened(tmp_path, dn.astype(np.int16), "int16"), dn.astype(np.int16)
    pixels[0, 5, 5:9] = -4000
    assert stray_fills(scene, pixels, np.ones(pixels.shape, bool)) == []


def test_a_run_ends_at_a_part_of_fills_and_leaves_nothing(tmp_path, sample, monkeypatch):
    pixels = sample[:, :40, :40].clip(1).astype(np.int16)
    pixels[:, 25:30, 25:30] = -9999
    write_raster(tmp_path / "in.tif", pixels)
    monkeypatch.setattr("catalog.sources.judged", lambda scene: scene)
    with pytest.raises(SourceError, match="--nodata -9999"):
        super_resolve(request(tmp_path, sample))
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_a_part_of_saturated_pixels_is_a_note_of_the_product(tmp_path, sample, monkeypatch):
    pixels = sample[:, :40, :40].clip(1)
    pixels[0, 22:32, 22:32] = 65535
    write_raster(tmp_path / "in.tif", pixels)
    monkeypatch.setattr("catalog.sources.judged", lambda scene: scene)
    recorder = Disturbed()
    super_resolve(request(tmp_path, sample), recorder)
    assert [note for note in recorder.notes if "in a part of the image, B02:" in note]


def test_an_item_of_a_period_gives_a_product_of_that_period(tmp_path, dn):
    path = write_item(tmp_path, "one", dn)
    content = json.loads(path.read_text())
    content["properties"] |= {
        "datetime": None,
        "start_datetime": "2023-06-01T00:00:00Z",
        "end_datetime": "2023-06-11T00:00:00Z",
    }
    path.write_text(json.dumps(content))
    scene = open_scene(SceneRequest(str(path)))
    assert scene.datetime is None
    assert scene.period is not None
    assert [one.isoformat()[:10] for one in scene.period] == ["2023-06-01", "2023-06-11"]
    assert scene.names == RGBN


def test_nodata_of_the_sources_bands_together_is_not_a_tag_of_the_product(tmp_path, sample):
    pixels = sample[:, :40, :40].clip(20)
    pixels[:, :6] = np.array([5, 6, 7, 8])[:, None, None]
    path = write_raster(tmp_path / "in.tif", pixels)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(NODATA_VALUES="5 6 7 8")
    super_resolve(upscale_request(path, tmp_path / "out.tif", model="nearest"))
    with rasterio.open(tmp_path / "out.tif") as product:
        assert "NODATA_VALUES" not in product.tags()
        measured = product.read_masks() > 0
    assert not measured[:, :24].any()
    assert measured[:, 24:].all()


@pytest.mark.parametrize(
    "transform", [(1e200, 0, 0, 0, -1e200, 0), (10, 0, 1e13, 0, -10, 5e6), (1e308, 0, 0, 0, -1, 0)]
)
def test_grids_beyond_any_place_are_refused(tmp_path, dn, transform):
    path = write_raster(tmp_path / "a.tif", dn, transform=Affine(*transform))
    with pytest.raises(SourceError, match="geotransform has numbers beyond any place"):
        open_scene(SceneRequest(str(path)))
