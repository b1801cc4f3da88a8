"""Engines agree with one another, in every precision."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from catalog import SceneRequest
from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.engine.winograd.engine import WinogradEngine
from geosr.errors import ModelError
from geosr.evaluate.held_out import SETS
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.card import NetworkSize, read_card_file
from geosr.model.kernels import MOST_HALO_DN
from geosr.model.layer_margins import crop
from geosr.model.rrdb import RRDBNet
from geosr.run.pipeline import super_resolve
from tests.conftest import DATA, REPOSITORY, read_raster, write_raster
from tests.small_model import write_small_model
from tests.upscaling import upscale_request
from tests.warm import run_warm

FLOAT32 = EngineSpec("openvino-cpu", "float32")
MTF = (0.26, 0.28, 0.24, 0.26)
DN = 10_000


TWO_THREADS = Parallel(1, 2)

needs_winograd = pytest.mark.skipif(not hardware.has_winograd(), reason="needs a processor with AVX2")

#: Engines that are held against PyTorch.
OURS = ["openvino", pytest.param("winograd", marks=needs_winograd)]


#: Models of single bands; networks other than the default one are held where there is time.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if zoo.read_card(name).network and name != zoo.DEFAULT_MODEL else [])
    for name in zoo.names()
    if zoo.read_card(name).stack is None
]


def engine_of(name, card, parallel=TWO_THREADS):
    spec = EngineSpec(f"{name}-cpu", "float32")
    if name == "torch":
        return TorchEngine(card, build(card, MTF), spec, parallel)
    engine = {"openvino": OpenVinoEngine, "winograd": WinogradEngine}[name]
    return engine(card, card.transfers(MTF, plain_image=False), spec, parallel)


def engines(card, ours="openvino"):
    """One of ours, and PyTorch."""
    return engine_of(ours, card), engine_of("torch", card)


@cache
def shipped_engine(name, model, parallel=TWO_THREADS):
    """An engine of a shipped model, which is made ready once for each shape."""
    return engine_of(name, zoo.read_card(model), parallel)


#: Rows and columns of images for shipped engines: one shape, and more than the halos.
ROWS, COLS = 92, 98


def entering(card, sample):
    reference = np.asarray(card.reference_reflectance or [1] * 4, np.float32).reshape(-1, 1, 1)
    return sample.astype(np.float32) / DN / reference, reference


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("engine", OURS)
def test_engines_agree_within_a_dn(engine, name, masked, sample):
    card = zoo.read_card(name)
    if engine == "winograd" and card.network is None:
        pytest.skip("there is nothing to convolve")
    lr, reference = entering(card, sample[:, :ROWS, 40 : 40 + COLS])
    valid = np.random.default_rng(0).random(lr.shape) > (0.2 if masked else 0)
    ours, theirs = (shipped_engine(one, name).upscale(lr, valid) for one in (engine, "torch"))
    assert ours.polyphase.shape == (4, 16, ROWS - 2 * card.halo_px, COLS - 2 * card.halo_px)
    assert ours.observed.shape == (4, *ours.polyphase.shape[2:])
    # A rounded DN differs by one where values differ by a rounding error: the errors themselves are far smaller.
    # Winograd's tiles stay whole when margins shrink: at the rim it computes with more of them than PyTorch.
    rim = 8 if engine == "winograd" else 0
    for what in ("polyphase", "observed"):
        difference = np.abs(getattr(ours, what) - getattr(theirs, what)) * reference.max() * DN
        assert crop(difference, rim).max() < 0.05
        assert difference.max() < MOST_HALO_DN


@pytest.mark.slow
def test_products_agree_within_a_dn(tmp_path, sample):
    results = {}
    source = write_raster(tmp_path / "in.tif", sample[:, :64, :90])
    for engine in ("openvino", "torch", *(["winograd"] if hardware.has_winograd() else [])):
        request = upscale_request(
            SceneRequest(str(source)), tmp_path / f"{engine}.tif", engine=engine, device="cpu", precision="float32"
        )
        super_resolve(request)
        results[engine] = read_raster(request.output).astype(int)
    theirs = results.pop("torch")
    for ours in results.values():
        difference = np.abs(ours - theirs)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("engine", OURS)
def test_half_widths_and_measured_fractions_agree(engine, sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :ROWS, :COLS])
    valid = np.ones(lr.shape, bool)
    valid[:, 40:44, 50:60] = False
    ours, theirs = (shipped_engine(one, card.name).upscale(lr, valid, uncertainty=True) for one in (engine, "torch"))
    np.testing.assert_allclose(ours.half_width, theirs.half_width, rtol=1e-3 if engine == "winograd" else 1e-4)
    np.testing.assert_allclose(ours.measured_fraction, theirs.measured_fraction, atol=1e-4)
    assert ours.half_width.shape == (4, 4 * (ROWS - 56), 4 * (COLS - 56))
    assert ours.measured_fraction.shape == (4 * (ROWS - 56), 4 * (COLS - 56))


@pytest.mark.parametrize("name", [*OURS, "torch"])
def test_the_image_is_the_same_with_uncertainty_and_without(name, sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :ROWS, :COLS])
    engine = shipped_engine(name, card.name)
    valid = np.ones(lr.shape, bool)
    plain, estimated, again = (engine.upscale(lr, valid, uncertainty=wanted) for wanted in (False, True, False))
    for other in (estimated, again):
        assert (plain.polyphase == other.polyphase).all()
        assert (plain.observed == other.observed).all()
    assert again.half_width is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OURS, "torch"])
def test_pixels_do_not_depend_on_the_number_of_threads(name, sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :ROWS, :COLS])
    valid = np.ones(lr.shape, bool)
    one, two = (shipped_engine(name, card.name, Parallel(1, threads)).upscale(lr, valid) for threads in (1, 2))
    assert (one.polyphase == two.polyphase).all()


@pytest.mark.parametrize("engine", OURS)
def test_published_networks_run_as_they_do_in_torch(engine, tmp_path, sample):
    """A network of the published form, with its tail at high resolution and nothing else around it."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    size = NetworkSize(features=16, growth=8, blocks=2, tail="interpolate")
    network = RRDBNet(4, 4, features=16, growth=8, blocks=2, tail="interpolate")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    card = card_of(tmp_path, network=size.model_dump(), base="none", steps=0)
    lr, _ = entering(card, sample[:, :60, :50])
    ours, theirs = (one.upscale(lr, np.ones(lr.shape, bool)) for one in engines(card, engine))
    np.testing.assert_allclose(ours.polyphase, theirs.polyphase, atol=1e-5)
    with torch.inference_mode():
        direct = network(torch.from_numpy(lr)[None])[0, :, 8:-8, 8:-8]
    shuffled = torch.nn.functional.pixel_shuffle(torch.from_numpy(theirs.polyphase.reshape(1, -1, 56, 46)), 4)
    torch.testing.assert_close(shuffled[0], direct, atol=1e-5, rtol=0)


def card_of(folder, **content):
    import hashlib

    weights = (folder / "weights.safetensors").read_bytes()
    fixed = {
        "name": "own",
        "description": "for a test",
        "bands": ["B02", "B03", "B04", "B08"],
        "halo_px": 2,
        "weights": "weights.safetensors",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "card.json").write_text(json.dumps({**fixed, **content}))
    return read_card_file(folder / "card.json")


@pytest.mark.slow
@pytest.mark.parametrize("base", ["none", "nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("steps", "noise_limit"), [(0, 0), (1, 0), (3, 0), (3, 0.02), (0, 0.02)])
@pytest.mark.parametrize("engine", OURS)
def test_every_constraint_is_that_of_torch(engine, base, steps, noise_limit, tmp_path, sample):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    size = NetworkSize(features=12, growth=6, blocks=1, estimates_noise=noise_limit > 0)
    network = RRDBNet(4, 4, **size.model_dump())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    reference = [0.3, 0.3, 0.3, 0.5]
    card = card_of(
        tmp_path,
        network=size.model_dump(),
        base=base,
        steps=steps,
        halo_px=5,
        noise_limit=noise_limit,
        plain_image_noise_limit=noise_limit,
        input_limit=0.1 if noise_limit else 0,
        reference_reflectance=reference,
    )
    lr, _ = entering(card, sample[:, :37, :34])
    partly = np.random.default_rng(0).random(lr.shape) > 0.2
    ours, theirs = engines(card, engine)
    # Twice each: what a chunk leaves behind is not seen by the next.
    for valid in (partly, partly, np.ones_like(partly), partly):
        one, other = (running.upscale(lr, valid) for running in (ours, theirs))
        np.testing.assert_allclose(one.polyphase, other.polyphase, atol=1e-5)
        np.testing.assert_allclose(one.observed, other.observed, atol=1e-5)


def test_weights_of_another_size_are_refused_by_all(tmp_path):
    default = zoo.read_card(zoo.DEFAULT_MODEL)
    (tmp_path / "weights.safetensors").write_bytes(default.weights_path.read_bytes())
    card = card_of(tmp_path, network={"features": 48, "growth": 16, "blocks": 3})
    with pytest.raises(ModelError, match="do not fit"):
        build(card, MTF)
    with pytest.raises(ModelError, match=r"do not fit.*conv1\.weight"):
        OpenVinoEngine(card, MTF, FLOAT32, Parallel())
    if hardware.has_winograd():
        with pytest.raises(ModelError, match=r"do not fit.*conv1\.weight"):
            WinogradEngine(card, MTF, EngineSpec("winograd-cpu", "float32"), Parallel())


def test_chunks_of_many_sizes_one_after_another(sample):
    """Code that is compiled for one size is not used for another."""
    card = zoo.read_card("backprojection")
    ours, theirs = engines(card)
    for rows, cols in ((60, 60), (70, 40), (60, 60), (29, 100)):
        lr, _ = entering(card, sample[:, :rows, :cols])
        valid = np.ones(lr.shape, bool)
        np.testing.assert_allclose(ours.upscale(lr, valid).polyphase, theirs.upscale(lr, valid).polyphase, atol=1e-5)


@pytest.mark.parametrize("tail", ["shuffle", "interpolate"])
def test_a_network_in_three_parts_is_the_network_in_one(tmp_path, sample, tail):
    """As for bfloat16: what is left, but for rounding, is how the parts fit."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = RRDBNet(4, 4, features=16, growth=8, blocks=2, tail=tail, width_features=8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    size = {"features": 16, "growth": 8, "blocks": 2, "tail": tail, "width_features": 8}
    calibration = {"level": 0.9, "factors": [1, 1, 1, 1]}
    card = card_of(tmp_path, network=size, halo_px=8, calibration=calibration)
    lr, _ = entering(card, sample[:, :60, :50])
    valid = np.ones(lr.shape, bool)
    tolerance = 0.02
    one, parts = (
        OpenVinoEngine(card, MTF, replace(FLOAT32, precision=precision), TWO_THREADS).upscale(
            lr, valid, uncertainty=True
        )
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(one.polyphase, parts.polyphase, atol=tolerance)
    np.testing.assert_allclose(one.half_width, parts.half_width, rtol=100 * tolerance)


# Precision


@pytest.mark.slow
def test_narrower_types_are_as_good_on_imagery_held_out(tmp_path):
    """Within 0.02 dB, and 3 DN in all but a thousandth of the pixels, half of that in float16."""
    if not DATA.exists():
        pytest.skip(f"needs the development data: {DATA} is absent")
    benchmark = REPOSITORY / "benchmarks" / "precision.py"
    told = run_warm(benchmark, "--smoke", "--data", DATA, "--results", tmp_path)
    assert told.returncode == 0, told.stderr
    sets = json.loads((tmp_path / "precision.json").read_text())["sets"]
    assert set(sets) == {SETS[0].name, SETS[-1].name}
    limits = {"torch-cpu bfloat16": 3, "openvino-cpu bfloat16": 3, "torch-cpu float16": 1.5}
    for name, result in sets.items():
        assert {"torch-cpu bfloat16", "torch-cpu float16"} <= set(result)
        for how, one in result.items():
            assert 0 < one["dn_999"] <= limits[how], (name, how)
            assert abs(one["psnr_db"]) <= 0.02, (name, how)


def test_float16_is_within_a_dn(sample):
    """GPUs compute in float16; PyTorch on the CPU rounds features alike."""
    card = zoo.read_card("rgbn-x4")
    lr, reference = entering(card, sample[:, :72, :72])
    valid = np.ones(lr.shape, bool)
    exact, rounded = (
        TorchEngine(card, build(card, MTF), EngineSpec("torch-cpu", precision), TWO_THREADS).upscale(lr, valid)
        for precision in ("float32", "float16")
    )
    off = np.abs(exact.polyphase - rounded.polyphase) * reference[..., None] * DN
    assert 0 < np.quantile(off, 0.999) <= 1


def test_features_that_float16_cannot_hold_are_refused(tmp_path, sample):
    """Not handed on as pixels without a number."""
    card = read_card_file(write_small_model(tmp_path))
    model = build(card, MTF)
    with torch.no_grad():
        model.network.conv_first.weight.mul_(1e6)
    engine = TorchEngine(card, model, EngineSpec("torch-cpu", "float16"), TWO_THREADS)
    lr, _ = entering(card, sample[:, :60, :60])
    with pytest.raises(ModelError, match=r"leave float16's range: take --precision bfloat16 or float32"):
        engine.upscale(lr, np.ones(lr.shape, bool))
    with pytest.raises(ModelError, match="leave float16's range"):
        engine.calibration_ratios(lr)
