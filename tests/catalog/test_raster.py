"""Scenes from rasters: names, nodata, radiometry, and what is a picture."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from rasterio.transform import Affine
from rasterio.windows import Window

from catalog import RadiometryError, ReadError, SceneRequest, SourceError, open_scene, parse_bbox, read_sensor
from catalog.arrays import band_specs
from tests.conftest import SAMPLE, data_file, write_raster


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


def test_the_sample():
    scene = opened(SAMPLE)
    assert scene.names == ("B02", "B03", "B04", "B08")
    assert scene.dtype == "uint16"
    assert [band.mtf_nyquist for band in scene.bands] == [0.26, 0.28, 0.24, 0.26]
    assert scene.nodata_declared
    assert scene.scaled
    assert scene.geobox.crs.to_epsg() == 32631
    assert (scene.geobox.affine.c, scene.geobox.affine.f) == (166021.44, 0)
    assert "Null Island" in scene.tags["NOTE"]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (("blue", "green", "red", "nir"), ("B02", "B03", "B04", "B08")),
        (("B4", "B3", "B2", "B8"), ("B04", "B03", "B02", "B08")),
        (("B02_10m", "B03_10m", "B04_10m", "B08_10m"), ("B02", "B03", "B04", "B08")),
        (("B02", "B8A", "B11", "SCL"), ("B02", "B8A", "B11", "SCL")),
    ],
)
def test_bands_are_known_by_their_usual_names(tmp_path, sample, described, expected):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], names=described)
    assert opened(path).names == expected


def test_unnamed_bands_are_named_by_the_user(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], names=())
    assert opened(path).names == ("band 1", "band 2", "band 3", "band 4")
    assert opened(path, bands=["B02", "-", "red", "B08"]).names == ("B02", "B04", "B08")
    with pytest.raises(SourceError, match="4 unnamed bands and --bands names 3"):
        opened(path, bands=["B02", "B03", "B04"])
    with pytest.raises(SourceError, match="unknown band name infrared"):
        opened(path, bands=["B02", "B03", "B04", "infrared"])


def test_bands_are_chosen_by_name(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    scene = opened(path, bands=["B08", "B03"])
    assert scene.names == ("B03", "B08")
    pixels, _ = scene.reader.read(Window(0, 0, 8, 8))
    assert (pixels == sample[[1, 3], :8, :8]).all()
    with pytest.raises(SourceError, match="no band B11"):
        opened(path, bands=["B02", "B11"])


def test_scale_and_offset_of_the_file_hold(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], scale=0.0001, offset=-0.1)
    scene = opened(path)
    assert {(band.scale, band.offset) for band in scene.bands} == {(0.0001, -0.1)}
    assert scene.scaled
    assert opened(path, offset=0).bands[0].offset == 0


def test_what_is_assumed_is_said(tmp_path, sample):
    scene = opened(write_raster(tmp_path / "a.tif", sample[:, :8, :8]))
    assert any("DN / 10000" in note for note in scene.notes)
    assert not scene.scaled


def test_nodata_nan_and_infinity_are_not_measurements(tmp_path, sample):
    whole = write_raster(tmp_path / "a.tif", np.array([[[0, 7, 9]]] * 4, np.uint16), nodata=9)
    assert opened(whole).reader.read(Window(0, 0, 3, 1))[1][0].tolist() == [[False, True, False]]
    undeclared = write_raster(tmp_path / "b.tif", np.array([[[0, 7, 9]]] * 4, np.uint16))
    scene = opened(undeclared)
    assert scene.reader.read(Window(0, 0, 3, 1))[1][0].tolist() == [[False, True, True]]
    assert not scene.nodata_declared
    floats = write_raster(tmp_path / "c.tif", np.array([[[0, np.nan, np.inf, 0.2]]] * 4, np.float32))
    assert opened(floats).reader.read(Window(0, 0, 4, 1))[1][0].tolist() == [[True, False, False, True]]


def test_floats_that_are_dn_are_refused(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8].astype(np.float32))
    with pytest.raises(SourceError, match=r"--scale|the scale \(0\.0001"):
        opened(path)
    assert opened(path, scale=0.0001).bands[0].scale == 0.0001


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_plain_images(tmp_path, mode, suffix):
    rng = np.random.default_rng(0)
    bands = {"RGB": 3, "L": 1, "RGBA": 4, "LA": 2, "I;16": 1}[mode]
    dtype = np.uint16 if mode == "I;16" else np.uint8
    pixels = rng.integers(1, 255, (12, 10, bands)).astype(dtype)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode=None).save(path)
    scene = opened(path)
    assert scene.plain_image
    assert scene.geobox.crs is None
    assert scene.names == (("grey",) if mode in ("L", "LA", "I;16") else ("red", "green", "blue"))
    assert any("plain image" in note for note in scene.notes)
    assert scene.bands[0].scale == pytest.approx(1 / 255)


def test_transparency_is_nodata(tmp_path):
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[1, 2, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    scene = opened(tmp_path / "a.png")
    _, valid = scene.reader.read(Window(0, 0, 4, 4))
    assert (~valid).sum() == 3
    assert not valid[:, 1, 2].any()
    assert scene.nodata_declared
    assert scene.bands[0].nodata == 0


def test_opaque_black_is_a_colour(tmp_path):
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[1, 2, :3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    _, valid = opened(tmp_path / "a.png").reader.read(Window(0, 0, 4, 4))
    assert valid.all()


def test_palettes_are_refused(tmp_path):
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P").save(tmp_path / "a.png")
    with pytest.raises(SourceError, match="palette"):
        opened(tmp_path / "a.png")


def test_a_band_named_twice_is_refused(tmp_path, sample):
    with pytest.raises(SourceError, match="names a band twice"):
        opened(write_raster(tmp_path / "a.tif", sample[:, :8, :8], names=("B02", "blue", "B04", "B08")))


def test_pixels_of_another_size_are_said(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], transform=Affine(0.6, 0, 0, 0, -0.6, 0))
    assert any("pixels of 0.6 m" in note for note in opened(path).notes)
    assert opened(path).bands[0].gsd_m == pytest.approx(0.6)
    feet = write_raster(tmp_path / "b.tif", sample[:, :8, :8], crs="EPSG:2263", transform=Affine(10, 0, 0, 0, -10, 0))
    assert opened(feet).bands[0].gsd_m == pytest.approx(3.048, rel=1e-4)


def test_floats_too_large_to_be_anything_are_nodata(tmp_path, sample):
    pixels = sample[:, :8, :8].astype(np.float32) / 10000
    pixels[:, 2, 3] = np.finfo(np.float32).min
    _, valid = opened(write_raster(tmp_path / "a.tif", pixels)).reader.read(Window(0, 0, 8, 8))
    assert (~valid).sum() == 4


def test_secrets_in_addresses_stay_out_of_products():
    from catalog.paths import without_query

    assert without_query("https://x/a.tif?sig=SECRET") == "https://x/a.tif"
    assert without_query("/a/b?c.tif") == "/a/b?c.tif"


@pytest.mark.parametrize(("high", "full"), [(200, 255), (1000, 1023), (4000, 4095), (60000, 65535)])
def test_16_bit_pictures_use_the_bits_they_have(tmp_path, high, full):
    pixels = np.full((1, 6, 6), high, np.uint16)
    path = write_raster(tmp_path / "a.tif", pixels, names=(), crs=None, transform=Affine.identity())
    assert opened(path).bands[0].scale == pytest.approx(1 / full)


def test_medical_slices_with_negative_values(tmp_path):
    pixels = np.array([[[-1000, 0], [400, 1000]]], np.int16)
    path = write_raster(tmp_path / "ct.tif", pixels, names=(), crs=None, transform=Affine.identity())
    band = opened(path).bands[0]
    assert -1000 * band.scale + band.offset == pytest.approx(0)
    assert 1000 * band.scale + band.offset == pytest.approx(1)
    assert band.nodata is None


def test_a_map_in_8_bits_is_a_picture_only_when_asked(tmp_path):
    path = write_raster(tmp_path / "tci.tif", np.full((3, 5, 5), 90, np.uint8), names=("red", "green", "blue"))
    with pytest.raises(RadiometryError, match="--plain-image"):
        opened(path)
    scene = opened(path, plain_image=True)
    assert scene.plain_image
    assert scene.geobox.crs.to_epsg() == 32633
    assert opened(path, scale=1 / 255).bands[0].scale == pytest.approx(1 / 255)


def test_instrument_bands_without_a_crs_need_a_word(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], crs=None)
    with pytest.raises(SourceError, match=r"no CRS.*--plain-image"):
        opened(path)
    assert opened(path, plain_image=True).names == ("B02", "B03", "B04", "B08")


def test_rotated_grids_are_refused(tmp_path, sample):
    transform = Affine.translation(5e5, 5e6) * Affine.rotation(20) * Affine.scale(10, -10)
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], transform=transform)
    with pytest.raises(SourceError, match=r"rotated grid.*gdalwarp"):
        opened(path)


def test_mixed_types_are_refused(tmp_path):
    names = []
    for dtype in ("uint8", "uint16"):
        names.append(write_raster(tmp_path / f"{dtype}.tif", np.ones((1, 4, 4), dtype), names=()).name)
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">{name}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (kind, name) in enumerate(zip(("Byte", "UInt16"), names, strict=True), start=1)
    )
    path = tmp_path / "mixed.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>0, 10, 0, 0, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    with pytest.raises(SourceError, match="mixes pixel types"):
        opened(path, scale=0.0001)


def test_a_change_of_the_file_changes_the_identity(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    before = opened(path).identity
    assert opened(path).identity == before
    write_raster(tmp_path / "a.tif", sample[:, :8, :9])
    assert opened(path).identity != before


def test_an_area_crops_a_raster(tmp_path):
    with rasterio.open(SAMPLE) as raster:
        west, south, east, north = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    scene = opened(SAMPLE, area=parse_bbox(f"{west},{(south + north) / 2},{(west + east) / 2},{north}"))
    assert 145 <= scene.area.width <= 155
    assert 145 <= scene.area.height <= 155
    assert scene.geobox.shape == (300, 300)


def test_names_of_other_instruments_bands_are_made_unique(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], names=("refl", "B03", "refl", "swath"))
    assert opened(path).names == ("refl 1", "B03", "refl 2", "swath")
    taken = write_raster(tmp_path / "b.tif", sample[:, :8, :8], names=("refl", "refl", "refl 1", "x"))
    assert len(set(opened(taken).names)) == 4


def four_bytes(path, *, names=(), nodata=None, **options):
    """Four byte bands, of which the last has zeros: GDAL calls it alpha."""
    pixels = np.full((4, 6, 6), 90, np.uint8)
    pixels[3, :2] = 0
    pixels[:3, 5, 5] = 7
    write_raster(path, pixels, names=names, nodata=nodata, **options)
    with rasterio.open(path) as raster:
        assert (raster.colorinterp[3].name == "alpha") is ("alpha" not in options)
    return path


@pytest.mark.parametrize("described", [True, False])
def test_an_infrared_band_that_gdal_takes_for_alpha_is_a_band(tmp_path, described):
    bands = ("B04", "B03", "B02", "B08")
    path = four_bytes(tmp_path / "a.tif", names=bands if described else ())
    scene = opened(path, scale=0.004, bands=None if described else bands)
    _, valid = scene.reader.read(scene.area)
    assert scene.names == bands
    assert valid[:3].all()
    assert [band.colour for band in scene.bands] == ["red", "green", "blue", "undefined"]
    assert not any("transparent" in note for note in scene.notes)


def test_naip_has_an_infrared_band():
    path = data_file("hr/naip_california/bishop_0.tif")
    scene = opened(path, scale=1 / 255)
    assert scene.names == ("B04", "B03", "B02", "B08")
    pixels, valid = scene.reader.read(scene.area)
    assert (valid == (pixels != 0)).all()


def test_alpha_holds_beside_a_nodata_value(tmp_path):
    path = four_bytes(tmp_path / "a.tif", nodata=7)
    scene = opened(path, plain_image=True)
    _, valid = scene.reader.read(scene.area)
    expected = np.ones((6, 6), bool)
    expected[:2] = False
    expected[5, 5] = False
    assert scene.names == ("red", "green", "blue")
    assert (valid == expected).all()
    assert scene.bands[0].nodata == 7


def test_alpha_holds_when_the_user_skips_its_band(tmp_path):
    scene = opened(four_bytes(tmp_path / "a.tif"), scale=0.004, bands=["B04", "B03", "B02", "-"])
    _, valid = scene.reader.read(scene.area)
    assert scene.names == ("B04", "B03", "B02")
    assert not valid[:, :2].any()


def test_a_mask_beside_the_raster_is_nodata_and_its_change_a_change_of_the_source(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    before = opened(path).identity
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as raster:
        raster.write_mask(np.arange(64).reshape(8, 8) > 9)
    masked = opened(path)
    _, valid = masked.reader.read(masked.area)
    assert (valid == (np.arange(64).reshape(8, 8) > 9)).all()
    os.utime(f"{path}.msk", ns=(1, 1))
    assert str(tmp_path / "a.tif.msk") in masked.files
    assert len({str(identity) for identity in (before, masked.identity, opened(path).identity)}) == 3


def test_a_fourth_band_of_a_picture_is_alpha_only_when_the_file_says_so(tmp_path):
    scene = opened(four_bytes(tmp_path / "a.tif", photometric="RGB", alpha="NO"), plain_image=True)
    assert scene.names == ("red", "green", "blue")
    assert scene.reader.read(scene.area)[1].all()
    assert any("band 4 left out" in note for note in scene.notes)
    pixels = np.full((4, 6, 6), 90, np.uint8)
    pixels[3, :2] = 0
    uncoloured = opened(write_raster(tmp_path / "b.tif", pixels, names=(), photometric="MINISBLACK"), plain_image=True)
    assert uncoloured.names == ("red", "green", "blue")
    assert uncoloured.reader.read(uncoloured.area)[1].all()
    assert any("band 4 left out" in note for note in uncoloured.notes)


def test_numbers_that_numpy_does_not_know_are_refused(tmp_path):
    path = tmp_path / "a.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="CInt16" band="1"/></VRTDataset>'
    )
    with pytest.raises(SourceError, match="complex numbers"):
        opened(path)


@pytest.mark.parametrize(("scale", "offset"), [(0, None), (float("nan"), None), (1e-4, float("inf"))])
def test_scales_and_offsets_that_mean_nothing_are_refused(tmp_path, sample, scale, offset):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    with pytest.raises(RadiometryError, match="finite numbers"):
        opened(path, scale=scale, offset=offset)
    with pytest.raises(RadiometryError, match="finite numbers"):
        band_specs(["B02"], "uint16", scale=scale, offset=offset, nodata=None)


def test_a_scale_of_0_in_the_file_is_mended_by_the_user(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8], scale=1e-4, offset=float("nan"))
    with pytest.raises(RadiometryError, match="give --scale and --offset"):
        opened(path)
    assert opened(path, scale=1e-4, offset=0).bands[0].offset == 0


def test_a_truncated_png_is_an_error_and_not_garbage(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    scene = opened(tmp_path / "half.png")
    with pytest.raises(ReadError, match="damaged or incomplete"):
        scene.reader.read(scene.area)
    assert opened(tmp_path / "whole.png").reader.read(scene.area)[0][:, 299, 299].tolist() == pixels[299, 299].tolist()


def test_notes_name_the_bands_of_which_something_is_assumed(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1e-4, 1, 1, 1)
    scene = opened(path)
    assert [note for note in scene.notes if "assumed" in note] == [
        "B03, B04, B08: reflectance = DN / 10000 is assumed, for the file holds neither scale nor offset; "
        "--offset -0.1 if its DN are of baseline 04.00 on"
    ]
    assert scene.radiometry[0] == "scale and offset in the file"


def test_notes_name_the_bands_whose_scale_is_not_their_sensors(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1e-4, 2e-4, 1, 2e-4)
    scene = opened(path, sensor=read_sensor("sentinel-2"))
    assert "B03, B08: the file's scale 0.0002 and offset 0 are taken, not sentinel-2's 0.0001 and 0" in scene.notes


def test_thousands_of_bands_are_refused_before_each_is_looked_at(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((1001, 4, 4), 2000, dtype=np.uint16), names=())
    with pytest.raises(SourceError, match="has 1001 bands, and no more than 1000 are taken"):
        opened(path)
