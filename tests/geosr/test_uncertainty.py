"""Half-widths and measured lie beside the product, on its grid, and never change it; a kill costs neither."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
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
from safetensors.torch import save_file

import geosr
from catalog import SceneRequest
from geosr.errors import ExistsError, ResumeError, UsageError
from geosr.model.build import build
from geosr.model.card import read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from geosr.run.uncertainty_layers import store_half_width
from tests.conftest import RGBN, SAMPLE, assert_valid_item, read_raster, run_here, write_raster
from tests.geosr.test_resume import Recorder, leave_unfinished
from tests.geosr.test_upscale import assert_same_place, repeated, with_holes
from tests.geosr.test_wrong_input import check, mounted, tree
from tests.upscaling import upscale_request
from tiling import DiskFullError

HALO = 24
FACTORS = (1.0, 0.5, 2.0, 0.75)
REFERENCE = (0.05, 0.08, 0.09, 0.25)
LEFT = ["in.tif", "out.json", "out.tif", "out_measured.tif", "out_uncertainty.tif"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A small network with random weights, whose half-widths are declared calibrated."""
    folder = tmp_path_factory.mktemp("model")
    size = {"features": 8, "growth": 4, "blocks": 1, "tail": "shuffle", "width_features": 8}
    torch.manual_seed(7)
    network = RRDBNet(4, 4, **size)
    torch.nn.init.normal_(network.conv_last.weight, std=0.02)
    torch.nn.init.normal_(network.width.conv_last.weight, std=0.3)
    save_file(network.state_dict(), folder / "tiny.safetensors")
    card = {
        "name": "tiny",
        "description": "Random weights.",
        "bands": RGBN,
        "reference_reflectance": REFERENCE,
        "mtf_nyquist": (0.26, 0.28, 0.24, 0.26),
        "network": size,
        "weights": "tiny.safetensors",
        "weights_sha256": hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest(),
        "halo_px": HALO,
        "calibration": {"level": 0.9, "factors": FACTORS, "data": {"nowhere": 1000}},
    }
    path = folder / "tiny.json"
    path.write_text(json.dumps(card))
    return str(path)


def request(source: Path, model: str, **options) -> UpscaleRequest:
    fixed = {"model": model, "core_px": 20, "uncertainty": True}
    return upscale_request(SceneRequest(str(source)), source.with_name("out.tif"), **{**fixed, **options})


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("out")}


@pytest.fixture
def source(tmp_path, sample):
    return write_raster(tmp_path / "in.tif", sample[:, :50, :40], nodata=0, scale=1e-4, offset=-0.1)


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


def leave_earlier_version(options: UpscaleRequest) -> dict[str, bytes]:
    """What a version left that called the measured fraction support."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geosr.run.uncertainty_layers.MEASURED", "support")
        super_resolve(options)
    left = outputs(Path(options.output).parent)
    assert sorted(left) == ["out.json", "out.tif", "out_support.tif", "out_uncertainty.tif"]
    return left


def test_a_product_of_an_earlier_version_is_recognised_and_left_as_it_is(tmp_path, source, model):
    left = leave_earlier_version(request(source, model))
    published = super_resolve(request(source, model))
    assert published.computed == 0
    assert published.layers["measured"] == tmp_path / "out_support.tif"
    now = outputs(tmp_path)
    assert now.keys() == left.keys()
    assert all(now[name] == left[name] for name in left if name.endswith(".tif"))
    assert_valid_item(tmp_path / "out.json")
    assert pystac.Item.from_file(tmp_path / "out.json").assets["measured"].href.endswith("out_support.tif")


def test_a_layer_of_an_earlier_version_goes_with_the_product_that_is_overwritten(tmp_path, source, model):
    leave_earlier_version(request(source, model))
    super_resolve(request(source, model, core_px=10, overwrite=True))
    assert tree_of(tmp_path) == LEFT


def tree_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, source, model):
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    for name in undisturbed:
        (tmp_path / name).unlink()
    leave_unfinished(request(source, model))
    folder = work_folder(tmp_path / "out.tif")
    finished = sorted(path.stem for path in folder.glob("r????c????.tif"))
    assert finished
    (folder / f"{finished[0]}.measured.tif").unlink()
    recorder = Recorder()
    super_resolve(request(source, model), recorder)
    assert finished[0] in recorder.computed
    assert set(finished[1:]).isdisjoint(recorder.computed)
    assert outputs(tmp_path) == undisturbed
    assert tree_of(tmp_path) == LEFT


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:900])])
@pytest.mark.parametrize("name", ["out_uncertainty.tif", "out_measured.tif", "out.tif"])
def test_what_is_missing_or_damaged_is_made_anew(tmp_path, source, model, name, damage):
    """A kill between the outputs leaves some of them, and all chunks; here even those are gone."""
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    if name == "out.tif":
        (tmp_path / "out.json").unlink()
    damage(tmp_path / name)
    # What is so damaged that nobody can tell whose it is, is not replaced unasked.
    super_resolve(request(source, model, overwrite=(tmp_path / name).exists()))
    assert outputs(tmp_path) == undisturbed
    recorder = Recorder()
    assert super_resolve(request(source, model), recorder).computed == 0
    assert recorder.computed == []


def test_a_kill_before_the_product_is_in_place_does_not_lock_the_layers(tmp_path, source, model):
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    (tmp_path / "out.tif").unlink()
    (tmp_path / "out.json").unlink()
    super_resolve(request(source, model))
    assert outputs(tmp_path) == undisturbed


@pytest.mark.slow
def test_killed_for_real(tmp_path, model):
    command = [sys.executable, "-m", "geosr", "upscale", str(SAMPLE), "-o", str(tmp_path / "out.tif")]
    command += ["--model", model, "--uncertainty", "--core", "60", "--json"]
    folder = work_folder(tmp_path / "out.tif")
    for ready in (
        lambda: len(list(folder.glob("r????c????.tif"))) >= 5,
        lambda: (folder / "ready.uncertainty.tif").exists(),
    ):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 200
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not list(tmp_path.glob("out*.tif"))
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert result["computed"] == 0
    resumed = outputs(tmp_path)
    for name in resumed:
        (tmp_path / name).unlink()
    subprocess.run(command, capture_output=True, check=True)
    assert outputs(tmp_path) == resumed
    assert tree_of(tmp_path) == [name for name in LEFT if name != "in.tif"]


def test_a_run_with_uncertainty_is_another_than_one_without(tmp_path, source, model):
    leave_unfinished(request(source, model, uncertainty=False))
    manifest = json.loads((work_folder(tmp_path / "out.tif") / "manifest.json").read_text())
    assert "layers" not in manifest
    with pytest.raises(ResumeError, match="layers"):
        super_resolve(request(source, model))


@pytest.mark.parametrize("name", ["out_uncertainty.tif", "out_measured.tif"])
def test_what_others_have_in_a_layers_place_stays(tmp_path, source, model, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ExistsError, match=rf"{name}.*--overwrite"):
        super_resolve(request(source, model))
    assert (tmp_path / name).read_text() == "precious"
    assert tree_of(tmp_path) == sorted(["in.tif", name])
    super_resolve(request(source, model, overwrite=True))
    assert tree_of(tmp_path) == LEFT


def test_a_layer_never_replaces_the_source(tmp_path, sample, model):
    source = write_raster(tmp_path / "out_measured.tif", sample[:, :30, :30])
    before = source.read_bytes()
    with pytest.raises(ExistsError, match="source itself"):
        super_resolve(request(source, model, overwrite=True))
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["backprojection", "bicubic"])
def test_models_without_calibration_are_refused(tmp_path, source, name):
    result = run_here("upscale", source, "-o", tmp_path / "out.tif", "--model", name, "--uncertainty")
    check(result, f"model {name} has no calibrated half-widths", 2)
    assert tree_of(tmp_path) == ["in.tif"]
    with pytest.raises(UsageError, match="no calibrated half-widths"):
        geosr.upscale(rioxarray.open_rasterio(source), name, uncertainty=True)


@pytest.mark.parametrize("size", ["300k", "2500k", "4500k"])
def test_a_full_disk_leaves_what_is_finished_alone(tmp_path, sample, model, size):
    """It fills up in the first chunk, in a later one, or at a mosaic."""
    source = write_raster(tmp_path / "in.tif", sample[:, :120, :120])
    with mounted(tmp_path / "small", f"size={size}") as target:
        full = upscale_request(SceneRequest(str(source)), target / "out.tif", model=model, core_px=60, uncertainty=True)
        with pytest.raises(DiskFullError, match="no space left"):
            super_resolve(full)
        assert all(name.startswith("out.tif.geosr") for name in tree(target))


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
