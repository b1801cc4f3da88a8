"""Half-widths and measured lie beside the product, on its grid, and never change it; a kill costs neither."""

from __future__ import annotations

import json
from pathlib import Path

import dask.array
import numpy as np
import pystac
import pytest
import rasterio
import rioxarray
import torch
from PIL import Image
from rio_cogeo import cog_validate

import geosr
from catalog import SceneRequest
from geosr.errors import UsageError
from geosr.model.build import build
from geosr.model.card import read_card_file
from geosr.run.pipeline import super_resolve
from geosr.run.uncertainty_layers import store_half_width
from tests.conftest import RGBN, assert_valid_item, read_raster, run_here, write_raster
from tests.geosr.calibrated_model import (
    HALO,
    LEFT,
    REFERENCE,
    request,
    tree_of,
)
from tests.geosr.test_upscale import assert_same_place, repeated, with_holes
from tests.geosr.test_wrong_input import check
from tests.upscaling import upscale_request


def test_the_layers_lie_on_the_products_grid(tmp_path, source, model):
    published = super_resolve(request(source, model))
    assert published.layers == {
        "uncertainty": tmp_path / "out_uncertainty.tif",
        "measured": tmp_path / "out_measured.tif",
    }
    assert tree_of(tmp_path) == LEFT
    assert_same_place(source, tmp_path / "out.tif")
    with (
        rasterio.open(tmp_path / "out.tif") as image,
        rasterio.open(tmp_path / "out_uncertainty.tif") as half_width,
        rasterio.open(tmp_path / "out_measured.tif") as measured,
    ):
        for layer in (half_width, measured):
            assert cog_validate(layer.name, strict=True) == (True, [], [])
            assert (layer.crs, layer.transform, layer.shape) == (image.crs, image.transform, image.shape)
            for tag in ("GEOSR_MODEL", "GEOSR_MANIFEST", "GEOSR_SOURCE", "GEOSR_CONSISTENCY_DN"):
                assert layer.tags()[tag] == image.tags()[tag]
        assert half_width.dtypes == ("uint16",) * 4
        assert half_width.nodata == 65535
        assert half_width.descriptions == tuple(f"{name} half-width" for name in RGBN)
        assert half_width.scales == image.scales
        assert half_width.offsets == (0.0,) * 4
        assert "half-width of the 90 % interval" in half_width.tags()["GEOSR_UNCERTAINTY"]
        assert "split-conformal" in half_width.tags()["GEOSR_UNCERTAINTY"]
        assert "nowhere" in half_width.tags()["GEOSR_UNCERTAINTY"]
        assert "-0.1" not in half_width.tags()["GEOSR_RADIOMETRY"]
        assert measured.dtypes == ("uint8",)
        assert measured.nodata == 255
        assert measured.read().max() <= 100
        assert "measured" in measured.tags()["GEOSR_MEASURED"]


def test_the_product_is_the_same_without(tmp_path, source, model):
    super_resolve(request(source, model))
    beside = read_raster(tmp_path / "out.tif")
    plain = upscale_request(SceneRequest(str(source)), tmp_path / "plain.tif", model=model, core_px=20)
    assert super_resolve(plain).layers == {}
    assert (read_raster(tmp_path / "plain.tif") == beside).all()
    assert not list(tmp_path.glob("plain_*"))


def test_half_widths_are_the_networks_over_all_seams(tmp_path, source, model):
    super_resolve(request(source, model))
    chunked = read_raster(tmp_path / "out_uncertainty.tif").astype(int)
    margin = 2 * HALO
    reflectance = np.pad(
        read_raster(source).astype(np.float32) * 1e-4 - 0.1, ((0, 0), (margin, margin), (margin, margin)), "symmetric"
    )
    reference = np.array(REFERENCE, np.float32)[:, None, None]
    card = read_card_file(Path(model))
    with torch.inference_mode():
        low = torch.tensor(reflectance / reference)[None]
        _, half_width = build(card, [None] * 4).with_half_width(low)
    inside = half_width[0].numpy()[:, 4 * margin : -4 * margin, 4 * margin : -4 * margin]
    expected = np.ceil(inside * reference / 1e-4).astype(int)
    assert expected.std(axis=(1, 2)).min() > 5
    assert np.abs(chunked - expected).max() <= 1
    # Rounded up: never narrower than the network says, but for the difference of chunks.
    assert (chunked - inside * reference / 1e-4).min() > -0.5


def test_the_measured_fraction_has_no_seams(tmp_path, source, model):
    super_resolve(request(source, model))
    chunked = read_raster(tmp_path / "out_measured.tif").astype(int)
    super_resolve(request(source, model, core_px=4096, overwrite=True))
    assert np.abs(chunked - read_raster(tmp_path / "out_measured.tif").astype(int)).max() <= 1
    assert np.ptp(chunked) > 10


@pytest.mark.parametrize(
    ("dtype", "nodata", "junk"),
    [
        ("uint16", 0, 0),
        pytest.param("uint16", 65535, 65535, marks=pytest.mark.slow),
        pytest.param("float32", None, np.nan, marks=pytest.mark.slow),
    ],
)
def test_nodata_lies_where_the_products_does(tmp_path, sample, model, dtype, nodata, junk):
    pixels = sample[:, :130, :150].astype(dtype)
    holed, valid = with_holes(pixels if nodata is not None else pixels / np.float32(10000), junk)
    source = write_raster(tmp_path / "in.tif", holed, nodata=nodata)
    super_resolve(request(source, model, core_px=64))
    half_width = read_raster(tmp_path / "out_uncertainty.tif")
    assert half_width.dtype == dtype
    empty = np.isnan(half_width) if dtype == "float32" else half_width == 65535
    assert (empty == ~repeated(valid)).all()
    assert (half_width[repeated(valid)] > 0).all()
    measured = read_raster(tmp_path / "out_measured.tif")
    assert ((measured == 255) == ~repeated(valid.any(axis=0, keepdims=True))).all()
    assert (measured[measured != 255] <= 100).all()


def test_an_area_without_measurements_is_nodata_in_every_layer(tmp_path, sample, model):
    pixels = sample[:, :40, :40].copy()
    pixels[:, 20:] = 0
    super_resolve(request(write_raster(tmp_path / "in.tif", pixels, nodata=0), model, core_px=10))
    assert (read_raster(tmp_path / "out_uncertainty.tif")[:, 80:] == 65535).all()
    assert (read_raster(tmp_path / "out_measured.tif")[:, 80:] == 255).all()


def test_half_widths_are_stored_rounded_up_within_their_type():
    widths = np.array([[[0.0, 0.2, 7.0, 1e9, np.nan]]], np.float32)
    assert store_half_width(widths, np.dtype("uint16")).tolist() == [[[0, 1, 7, 65534, 65535]]]
    assert store_half_width(widths, np.dtype("float64"))[0, 0, 1] == pytest.approx(0.2)
    assert np.isnan(store_half_width(widths, np.dtype("float32"))[0, 0, 4])


@pytest.mark.parametrize("name", ["backprojection", "bicubic"])
def test_models_without_calibration_are_refused(tmp_path, source, name):
    result = run_here("upscale", source, "-o", tmp_path / "out.tif", "--model", name, "--uncertainty")
    check(result, f"model {name} has no calibrated half-widths", 2)
    assert tree_of(tmp_path) == ["in.tif"]
    with pytest.raises(UsageError, match="no calibrated half-widths"):
        geosr.upscale(rioxarray.open_rasterio(source), name, uncertainty=True)


def test_the_command_names_what_it_wrote(tmp_path, source, model):
    arguments = ("upscale", source, "-o", tmp_path / "out.tif", "--model", model, "--uncertainty")
    spoken = run_here(*arguments)
    assert spoken.returncode == 0, spoken.stderr
    wrote = spoken.stdout.splitlines()[0]
    assert all(str(tmp_path / name) in wrote for name in LEFT[1:])
    result = json.loads(run_here(*arguments, "--json").stdout)
    assert result["uncertainty"] == str(tmp_path / "out_uncertainty.tif")
    assert result["measured"] == str(tmp_path / "out_measured.tif")


def test_the_item_lists_the_layers(tmp_path, source, model):
    super_resolve(request(source, model))
    assert_valid_item(tmp_path / "out.json")
    assets = pystac.Item.from_file(str(tmp_path / "out.json")).get_assets()
    assert list(assets) == ["data", "uncertainty", "measured"]
    for key, name in (("uncertainty", "out_uncertainty.tif"), ("measured", "out_measured.tif")):
        assert assets[key].get_absolute_href() == str(tmp_path / name)
        assert "data" not in assets[key].roles
    band = assets["uncertainty"].extra_fields["bands"][0]
    assert (band["name"], band["raster:scale"], band["raster:offset"]) == ("B02", 1e-4, 0)
    assert assets["measured"].extra_fields["nodata"] == 255


def test_pictures_have_half_widths_with_a_caveat(tmp_path, model):
    pixels = np.random.default_rng(0).integers(40, 220, (30, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    super_resolve(
        upscale_request(SceneRequest(str(tmp_path / "photo.png")), tmp_path / "out.tif", model=model, uncertainty=True)
    )
    with rasterio.open(tmp_path / "out_uncertainty.tif") as half_width:
        assert half_width.shape == (120, 160)
        assert half_width.count == 3
        assert "calibrated for reflectance" in half_width.tags()["GEOSR_NOTES"]


def test_arrays_have_what_the_command_writes(tmp_path, source, model):
    super_resolve(request(source, model))
    low = rioxarray.open_rasterio(source)
    dataset = low.geosr.upscale(model, core_px=20, uncertainty=True)
    assert (dataset.image.values == read_raster(tmp_path / "out.tif")).all()
    assert dataset.image.identical(geosr.upscale(low, model, core_px=20).rename("image"))
    stored = read_raster(tmp_path / "out_uncertainty.tif")
    assert (np.ceil(dataset.half_width.values) == stored).all()
    assert (dataset.measured.values == read_raster(tmp_path / "out_measured.tif")[0]).all()
    assert dataset.half_width.attrs["scale_factor"] == low.attrs["scale_factor"]
    assert dataset.half_width.attrs["add_offset"] == 0
    assert dataset.measured.dims == ("y", "x")
    for layer in dataset.data_vars.values():
        assert layer.rio.crs == low.rio.crs
        assert layer.rio.bounds() == low.rio.bounds()
    assert np.isnan(dataset.half_width.rio.nodata)
    assert dataset.measured.rio.nodata == 255


def test_lazy_arrays_give_the_same(source, model):
    low = rioxarray.open_rasterio(source)
    low[:, 5:9, 5:9] = 0
    dates = low.expand_dims(time=2)
    eager = geosr.upscale(dates, model, core_px=20, uncertainty=True)
    lazy = geosr.upscale(dates.chunk(y=17), model, core_px=20, uncertainty=True)
    assert all(isinstance(layer.data, dask.array.Array) for layer in lazy.data_vars.values())
    assert lazy.measured.dims == ("time", "y", "x")
    assert lazy.compute().identical(eager)
    assert np.isnan(eager.half_width[:, :, 20:36, 20:36]).all()
    assert (eager.measured[:, 20:36, 20:36] == 255).all()
