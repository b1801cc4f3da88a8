"""Layers drop the part of a chunk's margin that they no longer need, and the chunk's pixels stay as they are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.engine.winograd.engine import WinogradEngine
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.kernels import MOST_HALO_DN
from geosr.model.layer_margins import crop, kept_margin, margins
from tests.conftest import SAMPLE, read_raster

MTF = (0.26, 0.28, 0.24, 0.26)
DN = 10_000


@pytest.mark.parametrize("halo_px", [0, 5, 28, 48])
@pytest.mark.parametrize("blocks", [1, 3, 23])
def test_margins_shrink_to_what_is_kept(blocks, halo_px):
    needed = margins(blocks, halo_px)
    assert len(needed) == 3 * blocks + 1
    assert needed == sorted(needed, reverse=True)
    assert needed[0] <= halo_px
    assert needed[-1] == kept_margin(halo_px) <= halo_px


def test_most_of_a_deep_network_has_the_whole_margin():
    """Its first layers are seen from far by those after them."""
    needed = margins(23, 48)
    assert needed[:50] == [48] * 50
    assert needed[-1] < 12


def card_of(sharpness):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    return card.sharpened(sharpness) if sharpness else card


def scene_of(card):
    """The input of the network for a scene, ``(bands, rows, cols)``, and the reflectance that is 1 there."""
    reference = np.asarray(card.reference_reflectance, np.float32).reshape(-1, 1, 1)
    return read_raster(SAMPLE)[:, :140, 60:200].astype(np.float32) / DN / reference, reference


#: Of the scene: the part that is computed as a chunk, and from which a halo is left out.
BEGINS, ENDS = 24, 116


@lru_cache
def whole_of(sharpness):
    """The image of the whole scene, by PyTorch."""
    card = card_of(sharpness)
    model = build(card, MTF).eval()
    model.overshoot = None  # engines make what products bound later
    with torch.inference_mode():
        return model(torch.from_numpy(scene_of(card)[0])[None])[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [0.0, 1.0])
@pytest.mark.parametrize("engine", [OpenVinoEngine, TorchEngine, WinogradEngine])
def test_a_chunk_is_as_in_the_whole(engine, sharpness):
    card = card_of(sharpness)
    scene, reference = scene_of(card)
    chunk = scene[:, BEGINS:ENDS, BEGINS:ENDS]
    if engine is WinogradEngine and not hardware.has_winograd():
        pytest.skip("needs a processor with AVX2")
    spec, parallel = EngineSpec("of no account", "float32"), Parallel(1, 2)
    made_of = build(card, MTF) if engine is TorchEngine else card.transfers(MTF, plain_image=False)
    running = engine(card, made_of, spec, parallel)
    polyphase = torch.from_numpy(running.upscale(chunk, np.ones(chunk.shape, bool)).polyphase)
    made = torch.nn.functional.pixel_shuffle(polyphase.flatten(0, 1), card.scale).numpy()
    expected = crop(whole_of(sharpness), (BEGINS + card.halo_px) * card.scale)
    assert expected.shape == made.shape
    assert np.abs((made - expected) * reference).max() * DN < MOST_HALO_DN


def test_half_widths_of_a_chunk_are_as_in_the_whole():
    card = card_of(0)
    scene, _ = scene_of(card)
    with torch.inference_mode():
        _, whole = build(card, MTF).eval().with_half_width(torch.from_numpy(scene)[None])
    chunk = np.ascontiguousarray(scene[:, BEGINS:ENDS, BEGINS:ENDS])
    engine = TorchEngine(card, build(card, MTF), EngineSpec("torch-cpu", "float32"), Parallel(1, 2))
    made = engine.upscale(chunk, np.ones(chunk.shape, bool), uncertainty=True).half_width
    expected = crop(whole[0].numpy(), (BEGINS + card.halo_px) * card.scale)
    np.testing.assert_allclose(made, expected, rtol=0.005)
