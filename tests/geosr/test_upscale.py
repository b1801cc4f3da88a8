"""The main job keeps what an analyst relies on: grid, bands, DN, nodata, and no seams."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import Affine
from rasterio.windows import Window
from rio_cogeo import cog_validate
from shapely.geometry import box, shape

from catalog import SceneRequest
from geosr.inference import upscaler
from geosr.model import zoo
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor
from geosr.run.pipeline import super_resolve
from tests.conftest import RGBN, SAMPLE, assert_valid_item, data_file, read_raster, write_raster
from tests.small_model import write_small_model
from tests.upscaling import upscale_request

HALO = zoo.read_card(zoo.DEFAULT_MODEL).halo_px


def upscaled(source: Path, output: Path, *, scene: dict | None = None, **options) -> Path:
    super_resolve(upscale_request(SceneRequest(str(source), **(scene or {})), output, **options))
    return output


def consistency_dn(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean |observe(SR) - LR| of Sentinel-2's 10 m bands, per band."""
    sensor = Sensor([mtf_to_sigma(mtf, 4) for mtf in (0.26, 0.28, 0.24, 0.26)], 4)
    observed = sensor.observe(torch.tensor(high.astype(np.float32))[None])[0].numpy()
    return np.abs(observed - low).mean(axis=(1, 2))


def assert_same_place(source: Path, output: Path) -> None:
    with rasterio.open(source) as low, rasterio.open(output) as high:
        assert high.crs == low.crs
        assert high.bounds == low.bounds
        assert high.transform == low.transform @ Affine.scale(0.25)
        assert (high.height, high.width) == (4 * low.height, 4 * low.width)
        assert high.dtypes == low.dtypes
        assert high.descriptions == low.descriptions
        assert high.nodata == low.nodata
        assert high.scales == low.scales
        assert high.offsets == low.offsets


@pytest.fixture(scope="module")
def whole_sample(tmp_path_factory):
    """The product of the whole sample in four chunks."""
    return upscaled(SAMPLE, tmp_path_factory.mktemp("whole") / "out.tif", core_px=150)


def test_the_sample_end_to_end(whole_sample):
    output = whole_sample
    assert cog_validate(output, strict=True) == (True, [], [])
    assert_same_place(SAMPLE, output)
    assert (consistency_dn(read_raster(SAMPLE), read_raster(output)) < [12, 12, 12, 20]).all()
    with rasterio.open(output) as raster:
        tags = raster.tags()
        assert raster.overviews(1) == [2, 4]
        assert raster.block_shapes[0] == (512, 512)
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    assert tags["GEOSR_MODEL"] == card.name
    assert tags["GEOSR_WEIGHTS_SHA256"] == card.weights_sha256
    assert tags["GEOSR_SOURCE"] == "sample"
    assert "estimated" in tags["GEOSR_DETAIL"]
    assert tags["GEOSR_EFFECTIVE_RESOLUTION"].endswith(" m")
    assert "Null Island" in tags["NOTE"]
    assert sorted(path.name for path in output.parent.iterdir()) == ["out.json", "out.tif"]


def test_the_recorded_consistency_is_the_products(whole_sample):
    measured = consistency_dn(read_raster(SAMPLE), read_raster(whole_sample))
    with rasterio.open(whole_sample) as raster:
        recorded = [float(part.split()[1]) for part in raster.tags()["GEOSR_CONSISTENCY_DN"].split(", ")]
    # The record was taken before rounding to DN, and with mirrored surroundings at the scene's edge.
    assert recorded == pytest.approx(list(measured), abs=0.3)


def test_the_item_is_valid_and_says_where_it_comes_from(tmp_path):
    output = upscaled(SAMPLE, tmp_path / "out.tif", model="bicubic")
    assert_valid_item(tmp_path / "out.json")
    item = pystac.Item.from_file(str(tmp_path / "out.json"))
    assert item.id == "out"
    assert item.get_assets()["data"].get_absolute_href() == str(output)
    assert item.properties["proj:code"] == "EPSG:32631"
    assert item.properties["proj:shape"] == [1200, 1200]
    assert item.properties["gsd"] == 2.5
    assert item.properties["processing:software"]["geosr"]
    (link,) = item.get_links("derived_from")
    assert link.href == SAMPLE.as_uri()
    with rasterio.open(SAMPLE) as raster:
        bounds = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    assert shape(item.geometry).symmetric_difference(box(*bounds)).area < 0.01 * box(*bounds).area
    bands = item.get_assets()["data"].extra_fields["bands"]
    assert [band["name"] for band in bands] == list(RGBN)
    assert bands[0]["raster:scale"] == 0.0001


@pytest.mark.slow
def test_austria(tmp_path):
    with rasterio.open(data_file("s2/austria_b.tif")) as raster:
        window = Window(60, 100, 130, 120)
        where = {"crs": raster.crs, "transform": raster.window_transform(window), "nodata": raster.nodata}
        source = write_raster(tmp_path / "in.tif", raster.read(window=window), names=raster.descriptions, **where)
    output = upscaled(source, tmp_path / "out.tif")
    assert cog_validate(output, strict=True) == (True, [], [])
    assert_same_place(source, output)
    assert (consistency_dn(read_raster(source), read_raster(output)) <= [12, 12, 12, 20]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 500), (7, 3), (2, 2), (300, 1)])
def test_any_size(tmp_path, sample, rows, cols):
    tiled = np.tile(sample, (1, 2, 2))[:, :rows, :cols]
    source = write_raster(tmp_path / "in.tif", tiled, nodata=0)
    output = upscaled(source, tmp_path / "out.tif")
    assert_same_place(source, output)
    high = read_raster(output)
    assert (high > 0).all()
    assert np.abs(high.mean(axis=(1, 2)) / tiled.mean(axis=(1, 2)) - 1).max() < 0.05
    assert cog_validate(output, strict=True) == (True, [], [])


@pytest.mark.slow
def test_a_size_that_is_no_multiple_of_anything(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :127, :129], nodata=0)
    output = upscaled(source, tmp_path / "out.tif", model="backprojection")
    assert_same_place(source, output)
    assert (read_raster(output) > 0).all()
    assert_same_place(source, upscaled(source, tmp_path / "net.tif"))


def largest_seam(source: Path, tmp_path: Path, core_px: int, **options) -> int:
    """Chunks whose cores divide the sides have one shape: a network is made ready for each shape."""
    chunked = read_raster(upscaled(source, tmp_path / "chunks.tif", core_px=core_px, **options))
    whole = read_raster(upscaled(source, tmp_path / "whole.tif", core_px=4096, **options))
    return int(np.abs(chunked.astype(int) - whole.astype(int)).max())


@pytest.mark.parametrize(
    "model", [pytest.param("rgbn-x4", marks=pytest.mark.slow), "backprojection", "bicubic", "bilinear", "nearest"]
)
def test_seams_are_below_one_dn(tmp_path, sample, model):
    source = write_raster(tmp_path / "in.tif", sample[:, :90, :135])
    assert largest_seam(source, tmp_path, 45, model=model) <= 1


@pytest.mark.slow
def test_seams_in_austria(tmp_path):
    pixels = read_raster(data_file("s2/austria_b.tif"))[:, :120, :120]
    assert largest_seam(write_raster(tmp_path / "in.tif", pixels), tmp_path, 60) <= 1


@pytest.mark.slow
def test_seams_among_clouds(tmp_path):
    with rasterio.open(data_file("s2/alberta_clouds.tif")) as raster:
        window = Window(150, 270, 130, 130)
        source = write_raster(
            tmp_path / "in.tif", raster.read([1, 2, 3, 4], window=window), crs="EPSG:4326", transform=raster.transform
        )
    assert largest_seam(source, tmp_path, 65) <= 1


def with_holes(pixels: np.ndarray, junk: float) -> tuple[np.ndarray, np.ndarray]:
    """Single pixels, a hole of 30 pixels, a border on two sides; one band has a hole of its own."""
    valid = np.ones(pixels.shape, bool)
    valid[:, 20, 30] = valid[:, 90, 5] = False
    valid[:, 60:90, 70:100] = False
    valid[:, :, 140:] = False
    valid[:, :3] = False
    valid[2, 110:113, 20:25] = False
    return np.where(valid, pixels, junk).astype(pixels.dtype), valid


def repeated(mask: np.ndarray) -> np.ndarray:
    return mask.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.parametrize(
    ("dtype", "nodata", "junk", "model"),
    [
        ("uint16", 0, 0, "backprojection"),
        ("uint16", 65535, 65535, "backprojection"),
        ("int16", -9999, -9999, "backprojection"),
        ("float32", None, np.nan, "backprojection"),
        ("float32", -1, -1, "backprojection"),
        pytest.param("uint16", 0, 0, "rgbn-x4", marks=pytest.mark.slow),
        pytest.param("float32", None, np.nan, "rgbn-x4", marks=pytest.mark.slow),
    ],
)
def test_nodata_stays_where_it_is(tmp_path, sample, model, dtype, nodata, junk):
    whole = sample[:, :150, :150].astype(dtype)
    if dtype == "float32":
        whole = whole / np.float32(10000)
    holed, valid = with_holes(whole, junk)
    source = write_raster(tmp_path / "in.tif", holed, nodata=nodata)
    output = upscaled(source, tmp_path / "out.tif", model=model, core_px=75)
    high = read_raster(output)
    empty = np.isnan(high) if nodata is None else high == nodata
    assert (empty == ~repeated(valid)).all()
    assert_same_place(source, output)

    full = write_raster(tmp_path / "full.tif", whole, nodata=nodata)
    undisturbed = read_raster(upscaled(full, tmp_path / "full_out.tif", model=model, core_px=75))
    far = valid.copy()
    halo = zoo.read_card(model).halo_px
    for band in range(len(far)):
        for y, x in np.argwhere(~valid.all(axis=0)):
            far[band, max(0, y - halo) : y + halo + 1, max(0, x - halo) : x + halo + 1] = False
    assert far.any()
    one_dn = 1 if dtype != "float32" else 1e-4
    difference = np.abs(high.astype(np.float64) - undisturbed.astype(np.float64))[repeated(far)]
    assert difference.max() <= one_dn
    # Beside a hole too the image goes on as it is: the fill follows its surroundings.
    near = np.abs(high.astype(np.float64) - undisturbed.astype(np.float64))[repeated(valid)]
    assert np.median(near) <= one_dn


def test_a_measured_pixel_never_becomes_nodata(tmp_path):
    """Beside bright ground the result undershoots: what would be 0 or below is the darkest value instead."""
    pixels = np.full((4, 40, 40), 1, np.uint16)
    pixels[:, 18:22, 18:22] = 12000
    output = upscaled(write_raster(tmp_path / "in.tif", pixels, nodata=0), tmp_path / "out.tif")
    assert (read_raster(output) > 0).all()


def test_all_bands_keep_the_sources_order(tmp_path, sample):
    order = [3, 0, 2, 1]
    source = write_raster(tmp_path / "in.tif", sample[order, :60, :60], names=[RGBN[i] for i in order])
    straight = write_raster(tmp_path / "straight.tif", sample[:, :60, :60])
    high = read_raster(upscaled(source, tmp_path / "out.tif"))
    expected = read_raster(upscaled(straight, tmp_path / "straight_out.tif"))
    assert (high == expected[order]).all()


def test_bands_without_a_model_are_left_out_and_named(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", np.concatenate([sample, sample[:1]])[:, :40, :40], names=[*RGBN, "B11"])
    with rasterio.open(upscaled(source, tmp_path / "out.tif")) as raster:
        assert raster.descriptions == RGBN
        assert "left out" in raster.tags()["GEOSR_NOTES"]
        assert "B11" in raster.tags()["GEOSR_NOTES"]


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"), [("uint16", 1e-4, -0.1), ("int16", 1e-4, 0.0), ("float32", 1.0, 0.0)]
)
def test_reflectance_holds_in_every_encoding(tmp_path, sample, dtype, scale, offset):
    """Ground gives the same reflectance in every encoding."""
    part = sample[:, :50, :50].astype(np.float64) / 10000
    plain = upscaled(write_raster(tmp_path / "a.tif", sample[:, :50, :50], scale=1e-4), tmp_path / "a_out.tif")
    encoded = (part - offset) / scale
    encoded = np.rint(encoded).astype(dtype) if dtype != "float32" else encoded.astype(dtype)
    if dtype == "float32":
        source = write_raster(tmp_path / "b.tif", encoded)
    else:
        source = write_raster(tmp_path / "b.tif", encoded, scale=scale, offset=offset)
    other = upscaled(source, tmp_path / "b_out.tif")
    difference = read_raster(plain) * 1e-4 - (read_raster(other) * scale + offset)
    assert np.abs(difference).max() <= 1.01e-4


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_plain_images(tmp_path, mode):
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(40, 220, (6, 7, 4)), np.ones((8, 8, 1))).astype(np.uint8)
    if mode == "RGBA":
        smooth[..., 3] = 255
        smooth[10:14, 20:22, 3] = 0
    pixels = {"RGB": smooth[..., :3], "L": smooth[..., 0], "RGBA": smooth}[mode]
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    output = upscaled(tmp_path / "photo.png", tmp_path / "out.tif")
    with rasterio.open(output) as raster:
        high = raster.read()
        assert raster.crs is None
        assert raster.dtypes[0] == "uint8"
        assert raster.colorinterp[0].name == ("gray" if mode == "L" else "red")
    assert high.shape == (1 if mode == "L" else 3, 192, 224)
    blocks = high.reshape(len(high), 48, 4, 56, 4).mean(axis=(2, 4))
    low = pixels[..., None] if mode == "L" else pixels[..., :3]
    shown = np.ones((48, 56), bool) if mode != "RGBA" else smooth[..., 3] > 0
    # Random blocks are as hard as an image can be; a mistake in scale or colour shows as tens.
    assert np.abs(blocks.transpose(1, 2, 0) - low)[shown].mean() < 6
    assert_valid_item(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["geometry"] is None
    if mode == "RGBA":
        assert (high[:, 40:56, 80:88] == 0).all()


def test_bfloat16_is_close_to_float32(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :24, :24])
    exact = read_raster(upscaled(source, tmp_path / "a.tif", precision="float32")).astype(int)
    rounded = read_raster(upscaled(source, tmp_path / "b.tif", precision="bfloat16")).astype(int)
    difference = np.abs(exact - rounded)
    assert difference.max() > 0
    assert np.percentile(difference, 99.9) <= 25
    assert difference.mean() < 2


@pytest.mark.slow
def test_a_cluster_of_processes_gives_the_same_bytes(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :60, :90])
    options = {"model": str(write_small_model(tmp_path)), "core_px": 30}
    alone = upscaled(source, tmp_path / "a.tif", **options)
    cluster = upscaled(source, tmp_path / "b.tif", **options, workers=2)
    assert alone.read_bytes() == cluster.read_bytes()


def test_models_are_built_once(tmp_path, sample):
    model = str(write_small_model(tmp_path))
    source = write_raster(tmp_path / "in.tif", sample[:, :40, :40])
    upscaled(source, tmp_path / "a.tif", core_px=20, model=model)
    before = upscaler._engine.cache_info().misses
    upscaled(source, tmp_path / "b.tif", core_px=30, model=model)
    assert upscaler._engine.cache_info().misses == before
    # Other radiometry is no other model.
    write_raster(source, sample[:, :40, :40], scale=2e-4, offset=-0.1)
    upscaled(source, tmp_path / "c.tif", core_px=30, model=model)
    assert upscaler._engine.cache_info().misses == before
