"""Adaptation: a published network for pictures becomes one for other bands, and its colours stay what they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch
import yaml
from safetensors.torch import load_file, save_file

from catalog.sensors import read_sensor
from geosr.errors import ExistsError, ModelError, ResumeError, UsageError
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.card import read_card_file
from geosr.model.esrgan_checkpoint import read_checkpoint
from geosr.model.purpose import notes_for
from geosr.model.rrdb import RRDBNet
from geosr.model.widen import widen
from geosr.release.adapt import Adaptation, adapt, with_weights
from geosr.training.config import NetworkConfig, read_config
from geosr.training.loop import Start, build_generator, train
from geosr.training.optimiser import Optimiser
from geosr.training.run_folder import CHECKPOINT, RunFolder
from tests.conftest import REPOSITORY, SAMPLE, call_geosr, data_file, write_raster

RGBN = ("B02", "B03", "B04", "B08")


@pytest.fixture
def published():
    """A small network from and to red, green and blue, as others would train it."""
    torch.manual_seed(5)
    return RRDBNet(3, 3, features=8, growth=4, blocks=2).eval()


@pytest.fixture
def checkpoint(tmp_path, published):
    path = tmp_path / "published.safetensors"
    save_file(published.state_dict(), path)
    return path


def adapted(checkpoint, folder, bands=RGBN, **changes):
    request = {"sensor": read_sensor("sentinel-2"), "output": folder / "adapted.json", **changes}
    return adapt(Adaptation(checkpoint, tuple(bands), **request))


def network_of(card):
    return build(card, [None] * len(card.bands)).network


def first_release(state):
    """The names of ESRGAN's first release."""
    layers = {"conv_first": "model.0", "conv_up1": "model.3", "conv_up2": "model.6", "conv_hr": "model.8"}
    layers |= {"conv_last": "model.10", "conv_body": "model.1.sub.2"}
    renamed = {}
    for key, value in state.items():
        layer, kind = key.rsplit(".", 1)
        if layer.startswith("body"):
            _, block, dense, conv = layer.split(".")
            layer = f"model.1.sub.{block}.{dense.upper()}.{conv}.0"
        renamed[f"{layers.get(layer, layer)}.{kind}"] = value
    return renamed


def second_release(state):
    layers = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    renamed = {}
    for key, value in state.items():
        layer, kind = key.rsplit(".", 1)
        layer = layer.replace("body.", "RRDB_trunk.").replace("rdb", "RDB") if layer.startswith("body") else layer
        renamed[f"{layers.get(layer, layer)}.{kind}"] = value
    return renamed


@pytest.mark.parametrize("bands", [RGBN, ("B04", "B03", "B02"), ("B08", "B04", "B11", "B02", "B03")])
def test_colours_come_out_as_published(tmp_path, checkpoint, published, bands):
    network = network_of(adapted(checkpoint, tmp_path, bands))
    lr = torch.rand(2, len(bands), 12, 9)
    rgb = [bands.index(name) for name in ("B04", "B03", "B02")]
    with torch.inference_mode():
        expected, given = published(lr[:, rgb]), network(lr)
    torch.testing.assert_close(given[:, rgb], expected, atol=1e-5, rtol=0)
    for place in set(range(len(bands))) - set(rgb):
        torch.testing.assert_close(given[:, place], expected.mean(dim=1), atol=1e-5, rtol=0)


def test_the_real_checkpoint_comes_out_as_published():
    """The published Real-ESRGAN ×4, by its widened weights alone: its margin takes minutes to measure."""
    read = read_checkpoint(data_file("weights/realesrgan_x4plus_rgb_fp16.safetensors"))
    assert (read.size.features, read.size.growth, read.size.blocks) == (64, 32, 23)
    network = RRDBNet(4, 4).eval()
    network.load_state_dict(widen(read.weights, 4, [2, 1, 0]))
    lr = torch.rand(1, 4, 16, 16)
    with torch.inference_mode():
        expected = read.network()(lr[:, [2, 1, 0]])
        torch.testing.assert_close(network(lr)[:, [2, 1, 0]], expected, atol=1e-5, rtol=0)


def test_without_back_projection_products_hold_the_published_colours(tmp_path, checkpoint, published):
    card = adapted(checkpoint, tmp_path, ("B04", "B03", "B02"), steps=0)
    unit = card.reference_reflectance[0]
    lr = torch.rand(1, 3, 10, 10) * unit
    with torch.inference_mode():
        torch.testing.assert_close(build(card, [None] * 3)(lr / unit), published(lr / unit), atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("names", [dict, first_release, second_release])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_checkpoints_of_all_forms_are_read(tmp_path, published, suffix, names, dtype):
    state = {key: value.to(dtype) for key, value in published.state_dict().items()}
    path = tmp_path / f"some{suffix}"
    if suffix == ".pth":
        wrong = {key: torch.zeros_like(value) for key, value in state.items()}
        torch.save({"params": names(wrong), "params_ema": names(state)}, path)
    else:
        save_file(names(state), path)
    read = read_checkpoint(path)
    assert (read.size.features, read.size.growth, read.size.blocks, read.entering) == (8, 4, 2, 3)
    assert set(read.weights) == set(state)
    assert all(torch.equal(read.weights[key], state[key]) for key in state)
    assert all(value.dtype == dtype for value in widen(read.weights, 4, [2, 1, 0]).values())


def test_the_card_says_what_it_is(tmp_path, checkpoint):
    card = adapted(checkpoint, tmp_path, name="mine")
    assert card == read_card_file(tmp_path / "adapted.json")
    assert (card.name, card.sensor, card.gsd_m, card.bands) == ("mine", "sentinel-2", 10, RGBN)
    assert (card.base, card.mtf_nyquist) == ("none", (0.26, 0.28, 0.24, 0.26))
    assert card.multiply_adds_per_lr_px == network_of(card).multiply_adds_per_lr_pixel()
    assert card.figures["halo_difference_dn"][str(card.halo_px)] < 0.5
    assert card.training["adapted"]["checkpoint"] == "published.safetensors"
    assert notes_for(card, "sentinel-2", 10) == []


def test_a_margin_that_is_too_small_is_said(tmp_path, checkpoint):
    card = adapted(checkpoint, tmp_path)
    far = card.model_copy(update={"halo_px": 48, "figures": {"halo_difference_dn": {"32": 37, "48": 9.2}}})
    assert "up to 9.2 DN" in "".join(notes_for(far, None, None))


@pytest.mark.slow
def test_an_adapted_model_upscales_a_scene_without_seams(tmp_path, sample, checkpoint):
    card = adapted(checkpoint, tmp_path)
    source = write_raster(tmp_path / "in.tif", sample[:, :80, :70])
    outputs = []
    for core in (16, 80):
        outputs.append(tmp_path / f"{core}.tif")
        options = ("--model", tmp_path / "adapted.json", "--core", core, "--precision", "float32", "-q")
        assert call_geosr("upscale", source, "-o", outputs[-1], *options) == 0
    parts, whole = (rasterio.open(path).read().astype(int) for path in outputs)
    assert np.abs(parts - whole).max() <= 1
    with rasterio.open(outputs[0]) as raster:
        assert raster.shape == (320, 280)
        assert raster.tags()["GEOSR_MODEL"] == "adapted"
        assert raster.tags()["GEOSR_WEIGHTS_SHA256"] == card.weights_sha256
    # Seen through the sensor, infrared has its own level, not that of the colours whose detail it was given.
    seen = parts.reshape(4, 80, 4, 70, 4).mean(axis=(2, 4))[:, 8:-8, 8:-8]
    assert np.abs(seen - sample[:, 8:72, 8:62]).mean(axis=(1, 2)).max() < 150


@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        (("B02", "B03", "B08"), {}, "no red"),
        (("B02", "B03", "B04", "B99"), {}, "sentinel-2 has no band B99"),
        (("B02", "B03", "B04", "B04"), {}, "names a band twice"),
        (RGBN, {"steps": 0}, "hold the colours' mean"),
        (RGBN, {"output": "card.txt"}, "name it .json"),
        (RGBN, {"output": "nowhere/card.json"}, "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, checkpoint, bands, options, message):
    changes = {key: tmp_path / value if key == "output" else value for key, value in options.items()}
    with pytest.raises(UsageError, match=message):
        adapted(checkpoint, tmp_path, bands, **changes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published.safetensors"]


def test_wrong_checkpoints_are_refused_in_one_line(tmp_path, capsys, published):
    wrong = {
        "four.safetensors": RRDBNet(4, 4, features=8, growth=4, blocks=1).state_dict(),
        "shuffle.safetensors": RRDBNet(3, 3, features=8, growth=4, blocks=1, tail="shuffle").state_dict(),
        "half.safetensors": {k: v for k, v in published.state_dict().items() if "rdb2" not in k},
    }
    for name, state in wrong.items():
        save_file(state, tmp_path / name)
    (tmp_path / "text.pth").write_text("no checkpoint")
    torch.save({"params": published}, tmp_path / "code.pth")
    for name in (*wrong, "text.pth", "code.pth", "absent.pth"):
        output = tmp_path / "out.json"
        command = ("models", "adapt", tmp_path / name, "--bands", "B02,B03,B04,B08", "-o", output)
        assert call_geosr(*command) == 1
        said = capsys.readouterr().err
        assert said.startswith("geosr: ")
        assert said.count("\n") == 1
        assert name in said
        assert not output.exists()


def test_nothing_is_replaced_unasked(tmp_path, checkpoint):
    adapted(checkpoint, tmp_path)
    with pytest.raises(ExistsError, match="--overwrite"):
        adapted(checkpoint, tmp_path)
    adapted(checkpoint, tmp_path, overwrite=True)
    before = checkpoint.read_bytes()
    with pytest.raises(ExistsError, match="what the model is made of"):
        adapted(checkpoint, tmp_path, output=checkpoint.with_suffix(".json"), overwrite=True)
    assert checkpoint.read_bytes() == before


@pytest.mark.slow
def test_an_adapted_model_is_trained_further(tmp_path, checkpoint):
    card = adapted(checkpoint, tmp_path)
    config = tmp_path / "tune.yaml"
    content = {
        "name": "tune",
        "bands": list(RGBN),
        "descriptions": {name: [name] for name in RGBN},
        "reference_reflectance": list(card.reference_reflectance),
        "mtf_nyquist": list(card.mtf_nyquist),
        "back_projection_steps": card.steps,
        "base": card.base,
        "network": card.network.model_dump(),
        "sources": [{"glob": "*.tif", "full_scale": 10000, "gain": [0.8, 1.2]}],
        "patch_lr_px": 12,
        "batch": 2,
        "steps": 12,
        "learning_rate": 1e-3,
        "warmup": 2,
        "precision": "float32",
    }
    config.write_text(yaml.safe_dump(content))
    train(read_config(config), SAMPLE.parent, tmp_path / "run", Start(card.weights_path, 0), quiet=True)
    trained = tmp_path / "run" / "weights.safetensors"
    tuned = with_weights(tmp_path / "adapted.json", trained, tmp_path / "tuned.json", name=None, overwrite=False)
    assert (tuned.name, tuned.base, tuned.sensor) == ("tuned", "none", "sentinel-2")
    assert tuned.digest != card.digest
    assert tuned.training["tuned"]["began_with_sha256"] == card.weights_sha256
    given, began = (network_of(one).state_dict()["conv_first.weight"] for one in (tuned, card))
    torch.testing.assert_close(given, load_file(trained)["conv_first.weight"])
    assert (began[:, 3] == 0).all()
    assert given[:, 3].abs().max() > 0
    with pytest.raises(ModelError, match="another network"):
        with_weights(tmp_path / "adapted.json", checkpoint, tmp_path / "x.json", name=None, overwrite=False)


def test_runs_from_before_there_was_a_base_go_on(tmp_path):
    config = read_config(REPOSITORY / "configs" / "rgbn_x4.yaml")
    config = config.model_copy(update={"network": NetworkConfig(features=8, growth=4, blocks=1)})
    model = build_generator(config)
    optimiser = Optimiser(model, config.optimiser, config.learning_rate)
    RunFolder(tmp_path, config).save(7, model, model, optimiser)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del state["config"]["base"]
    torch.save(state, tmp_path / CHECKPOINT)
    assert RunFolder(tmp_path, config).resume(model, model, optimiser) == 7
    with pytest.raises(ResumeError, match="differs in base"):
        RunFolder(tmp_path, config.model_copy(update={"base": "none"})).resume(model, model, optimiser)


def test_the_configuration_for_training_further_is_that_of_the_adapted_card():
    config = read_config(REPOSITORY / "configs" / "rgbn_x4_adapted.yaml")
    assert config.base == "none"
    assert config.network.tail == "interpolate"
    assert config.reference_reflectance == zoo.read_card("rgbn-x4").reference_reflectance == (0.3, 0.3, 0.3, 0.5)


def test_models_are_adapted_from_the_command_line(tmp_path, capsys, checkpoint):
    card = tmp_path / "a.json"
    command = ("models", "adapt", checkpoint, "--sensor", "landsat-oli", "--bands", "B4,B3,B2,B5", "-o", card, "--json")
    assert call_geosr(*command) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == str(tmp_path / "a.safetensors")
    assert call_geosr("models", card) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["bands"], shown["sensor"], shown["gsd_m"]) == (["B4", "B3", "B2", "B5"], "landsat-oli", 30)
    assert call_geosr("models", "adapt", checkpoint, "--bands", " ", "-o", tmp_path / "b.json") == 2
