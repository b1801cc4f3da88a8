"""PyTorch's engine in little memory, and compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from catalog import SceneRequest
from geosr.engine.torch_engine import TorchEngine
from geosr.errors import DeviceError
from geosr.model.card import NetworkSize, read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.progress import PlainReporter
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster, run_here, write_raster
from tests.geosr.calibrated_model import HALO
from tests.geosr.test_engines import card_of, engines, entering
from tests.upscaling import upscale_request

DN = 10_000


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


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_too_little_memory_halves_what_is_computed_at_once(masked, model, sample, monkeypatch):
    card = read_card_file(Path(model))
    lr, reference = entering(card, sample[:, :130, :170])
    valid = np.ones(lr.shape, bool)
    valid[:, 50:70, 80:110] = not masked
    _, engine = engines(card)
    whole = engine.upscale(lr, valid, uncertainty=True)
    assert whole.note is None
    sizes = short_of_memory(engine, monkeypatch, 100 * 120)
    halved = engine.upscale(lr, valid, uncertainty=True)
    assert halved.note == "the GPU's memory held no more than 61 pixels at once"
    # As between chunks: halos are such that seams stay below a DN. Where nothing was measured there is nodata.
    inside = valid[:, HALO:-HALO, HALO:-HALO]
    seams = {
        "polyphase": np.abs(halved.polyphase - whole.polyphase).max(axis=1)[inside].max(),
        "observed": np.abs(halved.observed - whole.observed)[inside].max(),
        "half_width": np.abs(halved.half_width - whole.half_width).max(),
    }
    assert max(seams.values()) * reference.max() * DN < 1, seams
    np.testing.assert_allclose(halved.measured_fraction, whole.measured_fraction, atol=1e-2)
    # What did not fit once is not tried again.
    tried = len(sizes)
    engine.upscale(lr, valid)
    assert all(rows * cols <= 100 * 120 for rows, cols in sizes[tried:])


def test_no_memory_at_all_is_an_error_in_one_line(model, sample, monkeypatch):
    card = read_card_file(Path(model))
    lr, _ = entering(card, sample[:, :120, :120])
    _, engine = engines(card)
    short_of_memory(engine, monkeypatch, 0)
    with pytest.raises(DeviceError, match="not enough memory on cpu for a chunk: try a smaller --core"):
        engine.upscale(lr, np.ones(lr.shape, bool))


def test_halved_chunks_are_told_of_in_the_product(tmp_path, model, sample, monkeypatch):
    source = write_raster(tmp_path / "in.tif", sample[:, :100, :80])
    at_once = TorchEngine._at_once

    def limited(self, low, mask, uncertainty):
        if low.shape[2] > 120:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return at_once(self, low, mask, uncertainty)

    monkeypatch.setattr(TorchEngine, "_at_once", limited)
    told = []
    reporter = type("Told", (PlainReporter,), {"note": lambda self, text: told.append(text)})()
    options = {"model": model, "engine": "torch", "device": "cpu"}
    request = upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **options)
    super_resolve(request, reporter)
    (note,) = [text for text in told if "memory" in text]
    with rasterio.open(request.output) as product:
        assert note in product.tags()["GEOSR_NOTES"]


@pytest.mark.slow
def test_a_compiled_network_agrees_within_a_dn(tmp_path, sample, monkeypatch):
    from safetensors.torch import save_file
    from torch._inductor import config

    # By default programs are compiled first that try each set of the processor's instructions.
    monkeypatch.setattr(config.cpp, "vec_isa_ok", True)

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
        told = run_here(*fixed, "--precision", "float32", "-o", tmp_path / f"{name}.tif", *more)
        assert told.returncode == 0, told.stderr
    plain, compiled = (read_raster(tmp_path / f"{name}.tif").astype(int) for name in ("plain", "compiled"))
    assert np.abs(plain - compiled).max() <= 1
    with rasterio.open(tmp_path / "compiled.tif") as product:
        assert product.tags()["GEOSR_ENGINE"] == "torch-cpu-float32-compiled"
