"""Engines agree with one another, say what they are, and take what the machine has."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch

from catalog import SceneRequest
from geosr.engine import EngineSpec, Parallel, check_engine, choose_engine, system
from geosr.engine.chunking import CORES_PX, bytes_per_lr_px, choose_core, choose_parallel
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.errors import DeviceError, ModelError, UsageError
from geosr.evaluate.contenders import open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import SETS, observe, read_images
from geosr.evaluate.metrics import psnr
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.card import NetworkSize, read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.pipeline import UpscaleRequest, super_resolve
from geosr.progress import PlainReporter
from tests.conftest import DATA, read_raster, run_geosr, write_raster

FLOAT32 = EngineSpec("openvino-cpu", "float32")
MTF = (0.26, 0.28, 0.24, 0.26)
DN = 10_000


TWO_THREADS = Parallel(1, 2)


def engines(card, parallel=TWO_THREADS):
    torch_spec = EngineSpec("torch-cpu", "float32")
    return (
        OpenVinoEngine(card, card.transfers(MTF, picture=False), FLOAT32, parallel),
        TorchEngine(card, build(card, MTF), torch_spec, parallel),
    )


def entering(card, sample):
    reference = np.asarray(card.reference_reflectance or [1] * 4, np.float32).reshape(-1, 1, 1)
    return sample.astype(np.float32) / DN / reference, reference


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("masked", [False, True])
def test_openvino_and_torch_agree_within_a_dn(name, masked, sample):
    card = zoo.read_card(name)
    lr, reference = entering(card, sample[:, :120, 40:180])
    valid = np.random.default_rng(0).random(lr.shape) > (0.2 if masked else 0)
    ours, theirs = (engine.upscale(lr, valid) for engine in engines(card))
    assert ours.phases.shape == (4, 16, 120 - 2 * card.halo_px, 140 - 2 * card.halo_px)
    assert ours.observed.shape == (4, *ours.phases.shape[2:])
    # A rounded DN differs by one where values differ by a rounding error: the errors themselves are far smaller.
    assert np.abs(ours.phases - theirs.phases).max() * reference.max() * DN < 0.05
    assert np.abs(ours.observed - theirs.observed).max() * reference.max() * DN < 0.05


def test_products_agree_within_a_dn(tmp_path, sample):
    results = {}
    source = write_raster(tmp_path / "in.tif", sample[:, :150, :200])
    for engine in ("openvino", "torch"):
        request = UpscaleRequest(
            SceneRequest(str(source)), tmp_path / f"{engine}.tif", engine=engine, device="cpu", precision="float32"
        )
        super_resolve(request)
        results[engine] = read_raster(request.output).astype(int)
    difference = np.abs(results["openvino"] - results["torch"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_half_widths_and_support_agree(sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :100, :110])
    valid = np.ones(lr.shape, bool)
    valid[:, 40:44, 50:60] = False
    ours, theirs = (engine.upscale(lr, valid, uncertainty=True) for engine in engines(card))
    np.testing.assert_allclose(ours.half_width, theirs.half_width, rtol=1e-4)
    np.testing.assert_allclose(ours.support, theirs.support, atol=1e-4)
    assert ours.half_width.shape == (4, 4 * 44, 4 * 54)
    assert ours.support.shape == (4 * 44, 4 * 54)


@pytest.mark.parametrize("which", [0, 1])
def test_the_image_is_the_same_with_uncertainty_and_without(which, sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :90, :90])
    engine = engines(card)[which]
    valid = np.ones(lr.shape, bool)
    plain, doubting = engine.upscale(lr, valid), engine.upscale(lr, valid, uncertainty=True)
    assert (plain.phases == doubting.phases).all()
    assert (plain.observed == doubting.observed).all()


@pytest.mark.parametrize("which", [0, 1])
def test_pixels_do_not_depend_on_the_number_of_threads(which, sample):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :130, :130])
    valid = np.ones(lr.shape, bool)
    one, two = (engines(card, Parallel(1, threads))[which].upscale(lr, valid) for threads in (1, 2))
    assert (one.phases == two.phases).all()


def test_published_networks_run_as_they_do_in_torch(tmp_path, sample):
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
    ours, theirs = (engine.upscale(lr, np.ones(lr.shape, bool)) for engine in engines(card))
    np.testing.assert_allclose(ours.phases, theirs.phases, atol=1e-5)
    with torch.inference_mode():
        direct = network(torch.from_numpy(lr)[None])[0, :, 8:-8, 8:-8]
    shuffled = torch.nn.functional.pixel_shuffle(torch.from_numpy(theirs.phases.reshape(1, -1, 56, 46)), 4)
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


def test_weights_of_another_size_are_refused_by_both(tmp_path):
    default = zoo.read_card(zoo.DEFAULT_MODEL)
    (tmp_path / "weights.safetensors").write_bytes(default.weights_path.read_bytes())
    card = card_of(tmp_path, network={"features": 48, "growth": 16, "blocks": 3})
    with pytest.raises(ModelError, match="do not fit"):
        build(card, MTF)
    with pytest.raises(ModelError, match=r"do not fit.*conv1\.weight"):
        OpenVinoEngine(card, MTF, FLOAT32, Parallel())


def test_chunks_of_many_sizes_one_after_another(sample):
    """What is compiled for one size is not used for another."""
    card = zoo.read_card("backprojection")
    ours, theirs = engines(card)
    for rows, cols in ((60, 60), (70, 40), (60, 60), (29, 100)):
        lr, _ = entering(card, sample[:, :rows, :cols])
        valid = np.ones(lr.shape, bool)
        np.testing.assert_allclose(ours.upscale(lr, valid).phases, theirs.upscale(lr, valid).phases, atol=1e-5)


@pytest.mark.parametrize("tail", ["shuffle", "interpolate"])
def test_a_network_in_three_parts_is_the_network_in_one(tmp_path, sample, tail):
    """As for bfloat16, which a processor without it computes in float32: what is left is how the parts fit."""
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
    tolerance = 0.02 if "amx_bf16" in system.cpu_flags() else 1e-5
    one, parts = (
        OpenVinoEngine(card, MTF, replace(FLOAT32, precision=precision), TWO_THREADS).upscale(
            lr, valid, uncertainty=True
        )
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(one.phases, parts.phases, atol=tolerance)
    np.testing.assert_allclose(one.half_width, parts.half_width, rtol=100 * tolerance)


# What is chosen


@pytest.fixture
def machine(monkeypatch):
    """A machine with other hardware than this one: only what is asked of it is simulated."""

    def have(*, flags=(), openvino=True, cuda=False):
        monkeypatch.setattr(system, "cpu_flags", lambda: frozenset(flags))
        monkeypatch.setattr(system, "has_openvino", lambda: openvino)
        monkeypatch.setattr("geosr.engine._openvino_has_bfloat16", lambda: "amx_bf16" in flags)
        monkeypatch.setattr("geosr.engine._has_cuda", lambda needed: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=False: cuda == "ampere")

    return have


@pytest.mark.parametrize(
    ("hardware", "wanted", "chosen"),
    [
        ({}, {}, "openvino-cpu-float32"),
        ({"openvino": False}, {}, "torch-cpu-float32"),
        ({"flags": ["amx_bf16"]}, {}, "openvino-cpu-bfloat16"),
        ({"flags": ["amx_bf16"], "openvino": False}, {}, "torch-cpu-bfloat16"),
        ({"flags": ["amx_bf16"]}, {"precision": "float32"}, "openvino-cpu-float32"),
        ({"flags": ["avx512f"]}, {"precision": "bfloat16"}, "torch-cpu-bfloat16"),
        ({"flags": ["amx_bf16"]}, {"network": False}, "openvino-cpu-float32"),
        ({"flags": ["amx_bf16"]}, {"engine": "torch"}, "torch-cpu-bfloat16"),
        ({"cuda": "ampere"}, {}, "torch-cuda-bfloat16"),
        ({"cuda": "turing"}, {}, "torch-cuda-float16"),
        ({"cuda": "ampere"}, {"device": "cpu"}, "openvino-cpu-float32"),
        ({"cuda": "ampere"}, {"engine": "openvino"}, "openvino-cpu-float32"),
        ({"cuda": "ampere"}, {"device": "cuda", "precision": "float32"}, "torch-cuda-float32"),
    ],
)
def test_auto_takes_what_the_machine_has(machine, hardware, wanted, chosen):
    machine(**hardware)
    assert str(choose_engine(**wanted)) == chosen


@pytest.mark.parametrize(
    ("hardware", "wanted", "message"),
    [
        ({"openvino": False}, {"engine": "openvino"}, r"pip install 'geosr\[openvino\]'"),
        ({}, {"engine": "openvino", "precision": "bfloat16"}, "no bfloat16 on this processor"),
        ({}, {"device": "cuda"}, "no CUDA device"),
    ],
)
def test_what_is_not_there_is_said(machine, hardware, wanted, message):
    machine(**hardware)
    with pytest.raises(DeviceError, match=message):
        choose_engine(**wanted)


@pytest.mark.parametrize("spec", ["openvino-cpu bfloat16", "torch-cuda float32"])
def test_a_worker_without_the_engine_of_a_run_says_so(machine, spec):
    """It would compute other pixels than the others, and nobody would know."""
    machine()
    with pytest.raises(DeviceError, match="this run computes with"):
        check_engine(EngineSpec(*spec.split()))


def test_the_command_says_what_it_picked(tmp_path):
    result = run_geosr("info", "--system", "--json")
    told = json.loads(result.stdout)
    assert told["engine"].startswith(str(choose_engine()))
    assert "auto" in told["engine"]


def test_chunks_are_as_large_as_memory_allows(monkeypatch):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    bfloat16 = replace(FLOAT32, precision="bfloat16")
    assert choose_core(card, bfloat16, 4) > choose_core(card, FLOAT32, 4) == 768
    sides = []
    for gigabytes in (64, 4, 2, 1, 0.1):
        monkeypatch.setattr(system, "memory_bytes", lambda total=gigabytes: int(total * 1e9))
        sides.append(choose_core(card, FLOAT32, 4))
        needed = bytes_per_lr_px(card, FLOAT32, 4) * (sides[-1] + 2 * card.halo_px) ** 2
        assert needed < gigabytes * 0.5e9 or sides[-1] == CORES_PX[-1]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == 256


@pytest.mark.parametrize(
    ("engine", "cores", "chunks", "expected"),
    [
        ("openvino-cpu", 1, 9, (1, 1)),
        ("openvino-cpu", 2, 9, (1, 2)),
        ("openvino-cpu", 16, 9, (2, 8)),
        ("openvino-cpu", 64, 3, (3, 21)),
        ("openvino-cpu", 64, 99, (8, 8)),
        ("torch-cuda", 16, 9, (2, 8)),
        ("torch-cuda", 16, 1, (1, 16)),
    ],
)
def test_cores_are_shared(monkeypatch, engine, cores, chunks, expected):
    monkeypatch.setattr(system, "cores", lambda: cores)
    assert choose_parallel(EngineSpec(engine, "float32"), chunks) == Parallel(*expected)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert system.cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert system.cores() >= 1


# Precision


@pytest.mark.slow
@pytest.mark.parametrize("which", range(len(SETS)), ids=[one.name for one in SETS])
def test_bfloat16_is_as_good_on_imagery_held_out(which):
    """Within 0.02 dB, and a few DN in all but a thousandth of the pixels; on any processor, by PyTorch.

    Of Sentinel-2 itself, whose reflectance is mostly below 0.2, fewer than of aerial imagery at full brightness.
    """
    if not DATA.exists():
        pytest.skip(f"needs the development data: {DATA} is absent")
    held_out = SETS[which]
    opened = open_model(zoo.DEFAULT_MODEL)
    card, bands = opened.card, opened.card.bands
    truths = [image[..., :640, :640] for image in read_images(held_out, DATA, bands)[:1]]
    halo = card.halo_px
    reference = np.asarray(card.reference_reflectance, np.float32).reshape(-1, 1, 1)
    exact, rounded = (
        TorchEngine(card, build(card, MTF), EngineSpec("torch-cpu", precision), Parallel(1, 2))
        for precision in ("float32", "bfloat16")
    )
    differences, gains = [], []
    for truth, lr in zip(truths, observe(truths, sensor_of(bands, transfers_of(bands, card))), strict=True):
        padded = np.pad(lr.numpy(), ((0, 0), (halo, halo), (halo, halo)), mode="symmetric") / reference
        images = []
        for engine in (exact, rounded):
            phases = engine.upscale(padded, np.ones(padded.shape, bool)).phases
            flat = torch.from_numpy(phases.reshape(1, -1, *phases.shape[2:]))
            images.append(torch.nn.functional.pixel_shuffle(flat, 4)[0] * torch.from_numpy(reference))
        differences.append((images[0] - images[1]).abs().numpy().ravel() * DN)
        gains.append(psnr(images[1], truth) - psnr(images[0], truth))
    assert np.quantile(np.concatenate(differences), 0.999) <= (5 if held_out.name.startswith("austria") else 12)
    assert abs(np.mean(gains)) <= 0.02


# Memory and compilation


def short_of_memory(engine, monkeypatch, limit):
    """Stands in for a GPU, of which there is none here: says that memory is short for more LR pixels than a limit."""
    at_once, sizes = engine._at_once, []

    def limited(low, mask, uncertainty):
        sizes.append(low.shape[2:])
        if low.shape[2] * low.shape[3] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return at_once(low, mask, uncertainty)

    monkeypatch.setattr(engine, "_at_once", limited)
    return sizes


@pytest.mark.parametrize("masked", [False, True])
def test_too_little_memory_halves_what_is_computed_at_once(masked, sample, monkeypatch):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, reference = entering(card, sample[:, :130, :170])
    valid = np.ones(lr.shape, bool)
    valid[:, 50:70, 80:110] = not masked
    _, engine = engines(card)
    whole = engine.upscale(lr, valid, uncertainty=True)
    assert whole.note is None
    sizes = short_of_memory(engine, monkeypatch, 100 * 120)
    halved = engine.upscale(lr, valid, uncertainty=True)
    assert halved.note == "the GPU's memory held no more than 57 pixels at once"
    # As between chunks: halos are such that seams stay below a DN. Where nothing was measured there is nodata.
    inside = valid[:, 28:-28, 28:-28]
    seams = {
        "phases": np.abs(halved.phases - whole.phases).max(axis=1)[inside].max(),
        "observed": np.abs(halved.observed - whole.observed)[inside].max(),
        "half_width": np.abs(halved.half_width - whole.half_width).max(),
    }
    assert max(seams.values()) * reference.max() * DN < 1, seams
    np.testing.assert_allclose(halved.support, whole.support, atol=1e-2)
    # What did not fit once is not tried again.
    tried = len(sizes)
    engine.upscale(lr, valid)
    assert all(rows * cols <= 100 * 120 for rows, cols in sizes[tried:])


def test_no_memory_at_all_is_an_error_in_one_line(sample, monkeypatch):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    lr, _ = entering(card, sample[:, :120, :120])
    _, engine = engines(card)
    short_of_memory(engine, monkeypatch, 0)
    with pytest.raises(DeviceError, match="not enough memory on cpu for a chunk: try a smaller --core"):
        engine.upscale(lr, np.ones(lr.shape, bool))


def test_halved_chunks_are_told_of_in_the_product(tmp_path, sample, monkeypatch):
    source = write_raster(tmp_path / "in.tif", sample[:, :100, :80])
    at_once = TorchEngine._at_once

    def limited(self, low, mask, uncertainty):
        if low.shape[2] > 120:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return at_once(self, low, mask, uncertainty)

    monkeypatch.setattr(TorchEngine, "_at_once", limited)
    told = []
    reporter = type("Told", (PlainReporter,), {"note": lambda self, text: told.append(text)})()
    request = UpscaleRequest(SceneRequest(str(source)), tmp_path / "out.tif", engine="torch", device="cpu")
    super_resolve(request, reporter)
    (note,) = [text for text in told if "memory" in text]
    with rasterio.open(request.output) as product:
        assert note in product.tags()["GEOSR_NOTES"]


@pytest.mark.slow
def test_a_compiled_network_agrees_within_a_dn(tmp_path, sample):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    size = NetworkSize(features=16, growth=8, blocks=1)
    network = RRDBNet(4, 4, **size.model_dump())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    card_of(tmp_path, network=size.model_dump())
    source = write_raster(tmp_path / "in.tif", sample[:, :70, :70])
    fixed = ["upscale", source, "--model", tmp_path / "card.json", "--engine", "torch", "--device", "cpu"]
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        told = run_geosr(*fixed, "--precision", "float32", "-o", tmp_path / f"{name}.tif", *more)
        assert told.returncode == 0, told.stderr
    plain, compiled = (read_raster(tmp_path / f"{name}.tif").astype(int) for name in ("plain", "compiled"))
    assert np.abs(plain - compiled).max() <= 1
    with rasterio.open(tmp_path / "compiled.tif") as product:
        assert product.tags()["GEOSR_ENGINE"] == "torch-cpu-float32-compiled"


def test_only_pytorch_compiles(tmp_path):
    with pytest.raises(UsageError, match="--compile"):
        choose_engine("openvino", compiled=True)
    assert not choose_engine("torch", "cpu", network=False, compiled=True).compiled
