"""Reflectance after scaling: slips of scale, offset and nodata are named, whatever the source is; honest data stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from catalog import BandSpec, CatalogError, SceneRequest, SourceError, open_scene
from catalog.plausibility import check_reflectance
from catalog.spelling import COMMAND, PYTHON
from tests.conftest import RGBN, data_file, write_raster
from tests.safe_product import write_safe
from tests.stac_items import write_item


@pytest.fixture
def dn(sample):
    """Whole DN of reflectance × 10000, all above 0."""
    return sample[:, :40, :40].clip(1)


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


def refused(path, **options):
    with pytest.raises(CatalogError) as caught:
        opened(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def raster(folder, pixels, dtype, **options):
    return write_raster(folder / "a.tif", pixels.astype(dtype), **options)


def item(folder, pixels, dtype, *, scale=None, offset=None, **options):
    """Write pixels as a STAC Item that declares scale and offset, or neither."""
    path = write_item(folder, "one", pixels.clip(0, 65535).astype(np.uint16), offset_applied=None)
    content = json.loads(path.read_text())
    for band, asset in zip(RGBN, content["assets"].values(), strict=True):
        name = folder / f"one_{band}.tif"
        with rasterio.open(name) as source:
            place = {"crs": source.crs, "transform": source.transform}
        name.unlink()
        write_raster(name, pixels[[RGBN.index(band)]].astype(dtype), names=(), **place, **options)
        declared = {"scale": scale, "offset": offset}
        asset["raster:bands"] = [{key: value for key, value in declared.items() if value is not None}]
    del content["properties"]["s2:processing_baseline"]
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("source", [raster, item])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_an_offset_in_dn_is_named(tmp_path, dn, source, dtype):
    assert "--offset -0.1" in refused(source(tmp_path, dn, dtype, scale=1e-4, offset=-1000))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_an_offset_in_dn_on_the_command_line_is_named(tmp_path, dn, dtype):
    path = raster(tmp_path, dn, dtype)
    assert "the offset -1000 is in DN, not in reflectance: give --offset -0.1" in refused(
        path, scale=1e-4, offset=-1000
    )


def test_an_offset_in_dn_of_a_product_is_named(tmp_path, dn):
    product = write_safe(tmp_path, dn, baseline="05.11")
    assert "--offset -0.1" in refused(product, offset=-1000)


def test_an_offset_in_dn_without_a_scale_is_named(tmp_path, dn):
    assert "--scale 0.0001 --offset -0.1" in refused(raster(tmp_path, dn, "uint16", offset=-1000.0))


@pytest.mark.parametrize("source", [raster, item])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_that_are_reflectance_and_carry_a_scale_of_dn_are_named(tmp_path, dn, source, dtype):
    path = source(tmp_path, dn / 10000, dtype, scale=1e-4, offset=0.0)
    assert "give --scale 1" in refused(path)
    assert opened(path, scale=1).bands[0].scale == 1


def test_float_assets_after_an_offset_are_named(tmp_path, dn):
    """An Item without radiometry: the offset that completes it takes the scale of DN for granted."""
    path = item(tmp_path, dn / 10000, "float32")
    assert "give --scale 1" in refused(path, offset=0)
    assert opened(path, scale=1, offset=0).bands[0].scale == 1


@pytest.mark.parametrize("bands", [[0], [1, 3]])
def test_a_scale_of_some_bands_only_is_judged_band_by_band(tmp_path, dn, bands):
    path = raster(tmp_path, dn, "float32")
    with rasterio.open(path, "r+") as tagged:
        tagged.scales = [1e-4 if i in bands else 1.0 for i in range(4)]
    text = refused(path)
    assert "--scale 0.0001" in text
    assert all((f"{name}:" in text or f"{name}," in text) == (i not in bands) for i, name in enumerate(RGBN))


@pytest.mark.parametrize("scale", [10000, 3e38, 1.0, -1e-4])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_scales_that_make_no_reflectance_are_named(tmp_path, dn, scale, dtype):
    assert "give --scale 0.0001" in refused(raster(tmp_path, dn, dtype), scale=scale)


@pytest.mark.parametrize("scale", [1e-320, 1e-12])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_scales_that_make_everything_black_are_named(tmp_path, dn, scale, dtype):
    assert "--scale 0.0001" in refused(raster(tmp_path, dn, dtype), scale=scale)


def test_percent_is_named(tmp_path, dn):
    assert "look like percent: give --scale 0.01" in refused(raster(tmp_path, dn[3:] / 100, "float32", names=("B08",)))


@pytest.mark.parametrize("source", [raster, item])
def test_bytes_with_the_scale_of_dn_are_refused(tmp_path, dn, source):
    text = refused(source(tmp_path, (dn // 40).clip(0, 255), "uint8", scale=1e-4, offset=0.0))
    assert "uint8" in text
    assert "--scale 0.00392157" in text


@pytest.mark.parametrize("source", [raster, item])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_64_bit_integers_are_refused_with_the_way_to_convert_them(tmp_path, dn, source, dtype):
    text = refused(source(tmp_path, dn, dtype, scale=1e-4, offset=0.0))
    assert "gdal_translate -ot Int32" in text
    assert "plain" not in text


@pytest.mark.parametrize("source", [raster, item])
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        *(("int16", fill) for fill in (-9999, -10000, -32768, -5000)),
        *(("float32", fill) for fill in (-9999, -10000, -32768, -1, 65535, -777)),
        *(("uint16", fill) for fill in (65535, 65000)),
        ("int32", -(2**31)),
        ("float64", 1e20),
    ],
)
def test_undeclared_fills_are_named_and_mended(tmp_path, dn, source, dtype, fill):
    pixels = (dn / 10000 if dtype.startswith("float") else dn).astype(dtype)
    pixels[:, :, :9] = fill
    scale = 1.0 if dtype.startswith("float") else 1e-4
    path = source(tmp_path, pixels, dtype, scale=scale, offset=0.0)
    assert f"22 % of the pixels are {fill:.10g}, which nothing declares as nodata: give --nodata" in refused(path)
    scene = opened(path, nodata=fill)
    assert (scene.reader.read(scene.area)[1] == (pixels != fill)).all()
    assert {band.nodata for band in scene.bands} == {fill} if source is raster else True
    assert scene.nodata_declared


def test_a_fill_is_found_anywhere_in_a_large_raster(tmp_path, sample):
    pixels = np.tile(sample.clip(1), (1, 3, 3)).astype(np.float32) / 10000
    pixels[:, -130:, -130:] = -9999
    for name, options in (("plain", {}), ("tiled", {"tiled": True})):
        path = write_raster(tmp_path / f"{name}.tif", pixels, **options)
        assert "--nodata -9999" in refused(path)
    with rasterio.open(path, "r+") as tiled:
        tiled.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    assert "--nodata -9999" in refused(path)


def test_a_fill_and_a_scale_are_named_together(tmp_path, dn):
    pixels = dn.astype(np.float32)
    pixels[:, :5] = -9999
    text = refused(raster(tmp_path, pixels, "float32"))
    assert "--scale 0.0001" in text
    assert "--nodata -9999" in text
    assert opened(tmp_path / "a.tif", scale=1e-4, nodata=-9999).bands[0].nodata == -9999


def test_dn_most_of_which_are_0_are_judged_by_the_others(tmp_path, dn):
    pixels = dn.astype(np.float32)
    pixels[:, :25] = 0
    assert "--scale 0.0001" in refused(raster(tmp_path, pixels, "float32"))


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_harmonised_dn_down_to_minus_1000_stay(tmp_path, dn, dtype):
    pixels = dn.astype(np.int32) - dn.min(axis=(1, 2), keepdims=True)
    pixels[:, ::3, ::2] = -np.arange(20)[None, None] * 50 - 50
    scale = {"scale": 1e-4} if dtype == "float32" else {}
    assert opened(raster(tmp_path, pixels, dtype, **scale)).names == RGBN


def test_clouds_and_snow_stay(tmp_path, dn):
    assert opened(raster(tmp_path, (dn.astype(np.int32) + 12000), "uint16")).names == RGBN


def test_saturated_pixels_stay(tmp_path, dn):
    pixels = dn.copy()
    pixels[:, 3:5, 3:5] = 65535
    assert opened(raster(tmp_path, pixels, "uint16")).names == RGBN


def test_a_dark_band_beside_others_stays(tmp_path, dn):
    """Cirrus over dry air is a DN or two."""
    pixels = dn.copy()
    pixels[0] = 1
    assert opened(raster(tmp_path, pixels, "uint16")).names == RGBN


def test_bands_that_are_no_instruments_are_not_judged(tmp_path, dn):
    pixels = np.concatenate([dn / 10000, np.full((1, 40, 40), 47.5)])
    path = raster(tmp_path, pixels, "float32", names=(*RGBN, "sun zenith"))
    assert opened(path).names == (*RGBN, "sun zenith")


def test_pictures_are_not_judged(tmp_path, dn):
    path = raster(tmp_path, dn.astype(np.float32), "float32")
    assert opened(path, plain_image=True).plain_image


@pytest.mark.parametrize(("dtype", "value"), [("float32", 0.0), ("int16", -1000)])
def test_a_mass_at_a_plausible_lowest_value_is_noted(tmp_path, dn, dtype, value):
    pixels = (dn / 10000 if dtype == "float32" else dn).astype(dtype)
    pixels[:, :, :10] = value
    notes = " ".join(opened(raster(tmp_path, pixels, dtype)).notes)
    assert f"25 % of the pixels are {value:g}, which nothing declares as nodata: give --nodata {value:g}" in notes


def test_an_offset_that_was_applied_before_is_noted(tmp_path, dn):
    notes = " ".join(opened(raster(tmp_path, dn, "uint16", scale=1e-4, offset=-0.1)).notes)
    assert "most reflectances are negative with offset -0.1: give --offset 0" in notes


@pytest.mark.parametrize("value", [-9999, 70000, 0.5])
def test_a_nodata_that_no_pixel_can_have_is_refused(tmp_path, dn, value):
    assert "is no value that uint16 has" in refused(raster(tmp_path, dn, "uint16"), nodata=value)


def test_options_are_named_as_they_are_given():
    band = BandSpec("B02", None, 1.0, 0.0, None, None, "")
    sample = [(np.linspace(300, 900, 50, dtype=np.float32), np.ones(50, bool))]
    for spelling, expected in ((COMMAND, "give --scale 0.0001"), (PYTHON, "give scale=0.0001")):
        with pytest.raises(SourceError, match=expected):
            check_reflectance(sample, [band], "x", spelling)


@pytest.mark.parametrize(
    "name", ["austria_a", "austria_b", "alberta_clouds", "catalonia_20200113", "spain_l1c_13band", "virginia_l1c_20m"]
)
def test_real_scenes_stay(name):
    scene = opened(data_file(f"s2/{name}.tif"))
    assert not [note for note in scene.notes if "nodata" in note or "negative" in note]
