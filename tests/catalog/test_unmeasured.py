"""Pixels without a measurement: masks of files and bands, DN 0 beside other nodata, declared values."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.windows import Window

from catalog import SceneRequest, open_scene
from tests.conftest import RGBN, call_geosr, write_raster
from tests.stac_items import write_item

HOLE = np.s_[5:9, 6:12]


@pytest.fixture
def dn(sample):
    return sample[:, :24, :24].clip(1)


def read(path, **options):
    scene = open_scene(SceneRequest(str(path), **options))
    return scene, *scene.reader.read(scene.area)


def hole_in(bands):
    valid = np.ones((4, 24, 24), bool)
    for band in bands:
        valid[band][HOLE] = False
    return valid


def masked_vrt(folder, dn, bands):
    """A VRT in which some bands have a mask of their own."""
    path = write_raster(folder / "a.tif", dn)
    write_raster(folder / "m.tif", (hole_in([0])[:1] * 255).astype(np.uint8), names=())
    copy(path, folder / "a.vrt", driver="VRT")
    text = (folder / "a.vrt").read_text()
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">m.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>"
    )
    parts = text.split("</VRTRasterBand>")
    closing = [mask if i in bands else "</VRTRasterBand>" for i in range(len(parts) - 1)]
    (folder / "a.vrt").write_text("".join(part + end for part, end in zip(parts, [*closing, ""], strict=True)))
    return folder / "a.vrt"


@pytest.mark.parametrize("bands", [[0], [2], [1, 3]])
def test_masks_of_single_bands_count_for_these(tmp_path, dn, bands):
    scene, _, valid = read(masked_vrt(tmp_path, dn, bands))
    assert (valid == hole_in(bands)).all()
    assert scene.nodata_declared


def test_nodata_of_all_bands_together_counts(tmp_path, dn):
    pixels = dn.copy()
    pixels[(slice(None), *HOLE)] = [[[7]], [[8]], [[9]], [[10]]]
    path = write_raster(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(NODATA_VALUES="7 8 9 10")
    assert (read(path)[2] == hole_in(range(4))).all()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 65535), ("uint32", 99), ("int16", -9999), ("int32", -32768)])
def test_dn_0_is_no_measurement_beside_another_nodata(tmp_path, dn, dtype, nodata):
    pixels = dn.astype(dtype)
    pixels[(slice(None), *HOLE)] = 0
    pixels[:, 20:, 20:] = nodata
    scene, _, valid = read(write_raster(tmp_path / "a.tif", pixels, nodata=nodata))
    assert (valid == ((pixels != 0) & (pixels != nodata))).all()
    assert {band.nodata for band in scene.bands} == {nodata}


def test_dn_0_among_negative_ones_is_a_measurement(tmp_path, dn):
    pixels = dn.astype(np.int16)
    pixels[:, 3, :3] = [-5, 0, -7]
    pixels[:, 20:, 20:] = -9999
    assert (read(write_raster(tmp_path / "a.tif", pixels, nodata=-9999))[2] == (pixels != -9999)).all()


def test_dn_0_is_no_measurement_under_an_opaque_mask_either(tmp_path, dn):
    pixels = dn.copy()
    pixels[(slice(None), *HOLE)] = 0
    path = write_raster(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as raster:
        raster.write_mask(np.ones((24, 24), bool))
    assert (read(path)[2] == hole_in(range(4))).all()


def items_of(folder, dn, finish, nodata=None, raster_nodata=None, dtype="uint16"):
    """An Item whose rasters are written anew and changed by ``finish``."""
    path = write_item(folder, "one", dn.clip(0, 65535).astype(np.uint16))
    content = json.loads(path.read_text())
    for i, (name, asset) in enumerate(zip(RGBN, content["assets"].values(), strict=True)):
        file = folder / f"one_{name}.tif"
        with rasterio.open(file) as raster:
            place = {"crs": raster.crs, "transform": raster.transform}
        file.unlink()
        write_raster(file, dn[[i]].astype(dtype), names=(), nodata=raster_nodata, **place)
        with rasterio.open(file, "r+") as raster:
            finish(raster)
        asset["raster:bands"][0].pop("nodata")
        if nodata is not None:
            asset["raster:bands"][0]["nodata"] = nodata
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("crs", [None, "EPSG:32632"])
def test_internal_masks_of_an_items_files_count(tmp_path, dn, crs):
    pixels = dn.copy()
    pixels[(slice(None), *HOLE)] = 60000

    def finish(raster):
        raster.write_mask(hole_in([0])[0])

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = items_of(tmp_path, pixels, finish)
    scene, values, valid = read(path, crs=crs)
    assert values[valid].max() < 1.2 * dn.max()
    if crs is None:
        assert (valid == hole_in(range(4))).all()
        assert (values[~valid] == scene.bands[0].nodata).all()


def test_an_alpha_band_of_an_items_file_counts(tmp_path, dn):
    path = items_of(tmp_path, dn, lambda raster: None)
    for i, name in enumerate(RGBN):
        file = tmp_path / f"one_{name}.tif"
        with rasterio.open(file) as raster:
            place = {"crs": raster.crs, "transform": raster.transform}
        alpha = (hole_in([0])[0] * 65535).astype(np.uint16)
        write_raster(file, np.stack([dn[i], alpha]), names=(), **place)
        with rasterio.open(file, "r+") as raster:
            raster.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    assert (read(path)[2] == hole_in(range(4))).all()


@pytest.mark.parametrize(
    ("dtype", "declared", "raster_nodata", "expected"),
    [
        ("int16", -9999, None, -9999),
        ("uint16", 65535, None, 65535),
        ("uint16", None, 65535, 65535),
        ("uint16", 0, 65535, 65535),
        ("uint16", -9999, None, 0),
        ("float32", -9999, None, -9999),
    ],
)
def test_the_nodata_of_an_item_is_kept(tmp_path, dn, dtype, declared, raster_nodata, expected):
    pixels = dn.astype(np.float64 if dtype == "float32" else np.int64)
    pixels[(slice(None), *HOLE)] = expected
    path = items_of(tmp_path, pixels, lambda raster: None, declared, raster_nodata, dtype)
    scene, values, valid = read(path)
    assert (valid == hole_in(range(4))).all()
    assert (values[~valid] == expected).all()
    assert {band.nodata for band in scene.bands} == {expected}
    assert scene.nodata_declared


def test_a_measured_pixel_of_an_item_does_not_turn_into_nodata(tmp_path, dn):
    """Offsets bring DN of a second Item to those of the first, and some onto its nodata value."""
    path = items_of(tmp_path, dn, lambda raster: None, raster_nodata=int(dn[0, 0, 0]))
    scene = open_scene(SceneRequest(str(path)))
    first, second = scene.reader.layers[0], scene.reader.layers[0]
    assert first is second
    shifted = type(scene.reader)(
        (type(first)(tuple(type(b)(b.path, b.index, 5.0, (0.0,)) for b in first.bands), first.bounds, True, None),),
        scene.reader.geobox,
        scene.dtype,
        float(dn[0, 1, 1]) + 5,
    )
    values, valid = shifted.read(Window(0, 0, 24, 24))
    assert valid.all()
    assert values[0, 1, 1] == dn[0, 1, 1] + 6


@pytest.mark.parametrize(
    ("dtype", "nodata", "common"),
    [
        ("uint16", (65535, 7, None, 0), 65535),
        ("int16", (None, -9999, -32768, -9999), -9999),
        ("uint16", (None, 65535, None, None), 65535),
        ("float32", (-9999, float("nan"), 0, None), -9999),
    ],
)
def test_each_band_of_a_vrt_may_have_a_nodata_value_of_its_own(tmp_path, dn, dtype, nodata, common):
    pixels, expected = dn.astype(dtype) / (1 if dtype[0] in "ui" else 10000), np.ones(dn.shape, bool)
    pixels = pixels.astype(dtype)
    for band, value in enumerate(nodata):
        if value is not None:
            pixels[band, 3 + band, 4] = value
            expected[band, 3 + band, 4] = False
    # What is nodata of another band is a measurement here, unless the sensor has it for its own.
    pixels[0, 20, 20] = 7 if dtype == "uint16" else pixels[0, 20, 20]
    write_raster(tmp_path / "a.tif", pixels)
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    parts = (tmp_path / "a.vrt").read_text().split("</VRTRasterBand>")
    declared = [
        f"<NoDataValue>{value}</NoDataValue></VRTRasterBand>" if value is not None else "</VRTRasterBand>"
        for value in nodata
    ]
    (tmp_path / "a.vrt").write_text("".join(a + b for a, b in zip(parts, [*declared, ""], strict=True)))
    scene, _, valid = read(tmp_path / "a.vrt")
    assert (valid == expected).all()
    assert {band.nodata for band in scene.bands} == {common}
    assert scene.nodata_declared
    several = len(set(nodata) - {None}) > 1
    assert any("bands have other nodata values" in note for note in scene.notes) == several
    assert call_geosr("upscale", tmp_path / "a.vrt", "-o", tmp_path / "out.tif", "--model", "nearest", "-q") == 0
    with rasterio.open(tmp_path / "out.tif") as product:
        assert product.nodata == common
        made, measured = product.read(), product.read_masks() > 0
    larger = [array.repeat(4, axis=1).repeat(4, axis=2) for array in (pixels, expected)]
    assert (measured == larger[1]).all()
    assert (made[measured] == larger[0][measured]).all()


def test_nodata_that_no_pixel_can_have_marks_none(tmp_path, dn):
    pixels = dn.astype(np.int16)
    pixels[(slice(None), *HOLE)] = 0
    copy(write_raster(tmp_path / "a.tif", pixels), tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    end = "<NoDataValue>-9999.5</NoDataValue></VRTRasterBand>"
    (tmp_path / "a.vrt").write_text(text.replace("</VRTRasterBand>", end))
    scene, _, valid = read(tmp_path / "a.vrt")
    assert (valid == hole_in(range(4))).all()
    assert {band.nodata for band in scene.bands} == {0.0}
