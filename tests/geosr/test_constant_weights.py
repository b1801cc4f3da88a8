"""Weights through which nothing passes are refused, also where the base and back-projection would hide it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from geosr.errors import ModelError
from geosr.model import stack
from geosr.model.card import read_card_file
from geosr.model.weights import read_weights
from geosr.model.zoo import read_card
from geosr.run.pipeline import super_resolve
from tests.conftest import write_raster
from tests.small_model import write_small_model
from tests.upscaling import upscale_request


def with_weights(folder, change):
    path = write_small_model(folder)
    weights = load_file(folder / "own.safetensors")
    change(weights)
    save_file(weights, folder / "own.safetensors")
    card = json.loads(path.read_text())
    card["weights_sha256"] = hashlib.sha256((folder / "own.safetensors").read_bytes()).hexdigest()
    path.write_text(json.dumps(card))
    return read_card_file(path)


@pytest.mark.parametrize("layer", ["conv_first", "conv_last"])
@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_constant_first_or_last_layer_is_refused(tmp_path, layer, value):
    def change(weights):
        weights[f"{layer}.weight"] = np.full_like(weights[f"{layer}.weight"], value)

    with pytest.raises(ModelError, match=rf"all of {layer} are {value:g}, so that its images are constant"):
        read_weights(with_weights(tmp_path, change))


def test_all_weights_zero_are_refused(tmp_path):
    def change(weights):
        for name in weights:
            weights[name] = np.zeros_like(weights[name])

    with pytest.raises(ModelError, match="not those of a trained network"):
        read_weights(with_weights(tmp_path, change))


def test_other_weights_stay(tmp_path):
    assert read_weights(with_weights(tmp_path, lambda _: None))["conv_last.weight"].std() > 0


@pytest.mark.parametrize("prefix", [stack.COARSE, stack.FINE])
def test_a_constant_step_of_a_stack_is_refused(tmp_path, monkeypatch, prefix):
    card = read_card("s2-ten-x4")
    weights = load_file(card.folder / card.weights)
    weights[f"{prefix}conv_last.weight"] = np.zeros_like(weights[f"{prefix}conv_last.weight"])
    save_file(weights, tmp_path / "w.safetensors")
    monkeypatch.setattr(stack, "find_weights", lambda _: tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=rf"all of {prefix}conv_last are 0"):
        stack.build_stack(card)


@pytest.mark.parametrize("factor", [1e9, -1e9, 1e30])
def test_weights_whose_images_are_far_from_their_source_are_refused(tmp_path, sample, factor):
    def change(weights):
        weights["conv_last.weight"] *= np.float32(factor)

    with_weights(tmp_path, change)
    source = write_raster(tmp_path / "in.tif", sample[:, :24, :24])
    wanted = upscale_request(source, tmp_path / "out.tif", model=str(tmp_path / "mine.json"), precision="float32")
    with pytest.raises(ModelError, match=r"its weights (or its card are damaged|are not those of a trained network)"):
        super_resolve(wanted)
    assert not wanted.output.exists()
