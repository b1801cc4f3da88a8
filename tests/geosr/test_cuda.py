"""The engine of a CUDA device against the processor's, chunks in little memory, and a compiled training.

Skipped where there is no such device; ``scripts/gpu.sh tests`` runs them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from catalog import SceneRequest
from geosr.engine import EngineSpec, Parallel
from geosr.engine.start import start_engine
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.run.pipeline import super_resolve
from geosr.training.config import read_config
from geosr.training.loop import train
from geosr.training.run_folder import WEIGHTS, read_figures
from tests.conftest import SAMPLE, read_raster, write_raster
from tests.small_training import TINY
from tests.upscaling import upscale_request

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DN = 10_000


def products(tmp_path, pixels, **options):
    """DN of one source on the processor, float32, and on the GPU."""
    source = write_raster(tmp_path / "in.tif", pixels)
    made = []
    for name, chosen in (("cpu", {"device": "cpu", "precision": "float32"}), ("cuda", {"device": "cuda", **options})):
        request = upscale_request(SceneRequest(str(source)), tmp_path / f"{name}.tif", **chosen)
        super_resolve(request)
        made.append(read_raster(request.output).astype(int))
    return made


def test_float32_products_agree_within_a_dn(tmp_path, sample):
    ours, theirs = products(tmp_path, sample, precision="float32")
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_keeps_to_three_dn(tmp_path, sample, precision):
    ours, theirs = products(tmp_path, sample, precision=precision)
    assert np.quantile(np.abs(ours - theirs), 0.999) <= 3


def test_a_chunk_that_memory_does_not_hold_is_computed_in_parts():
    card = read_card(DEFAULT_MODEL)
    spec = EngineSpec("torch-cuda", "float32")
    lr = np.random.default_rng(0).random((4, 1024 + 2 * card.halo_px, 1024 + 2 * card.halo_px), np.float32) * 0.3
    transfers = card.transfers([None] * 4, plain_image=False)
    whole = start_engine(card, transfers, spec, Parallel(1, 1)).upscale(lr, np.ones(lr.shape, bool))
    needed = torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction(0.6 * needed)
        parts = start_engine(card, transfers, spec, Parallel(1, 1)).upscale(lr, np.ones(lr.shape, bool))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts.note is not None
    np.testing.assert_allclose(parts.polyphase, whole.polyphase, atol=1 / DN)


def test_training_compiled_and_drawn_ahead_goes_the_same_way(tmp_path):
    losses = []
    for compiled in (False, True):
        path = tmp_path / f"{compiled}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(TINY), "compiled": compiled, "steps": 60}))
        run = tmp_path / str(compiled)
        train(read_config(path), SAMPLE.parent, run, quiet=True)
        assert all(bool(one.isfinite().all()) for one in load_file(run / WEIGHTS).values())
        losses.append(next(line["loss"] for line in read_figures(run) if "loss" in line))
    assert math.isclose(*losses, rel_tol=0.05)
