"""The perceptual stage: features, configurations, a run that resumes, and its release."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import geosr.release.visual_model as release_visual_module
import geosr.training.loop as training
from geosr.errors import ModelError, TrainingError
from geosr.evaluate.sharpness import detail_share
from geosr.model.card import ModelCard, NetworkSize, read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.model.weights import read_weights
from geosr.release.visual_model import keep_figures, release_visual
from geosr.release.zoo_model import TrainingStage, sha256
from geosr.training.config import Perceptual, read_config
from geosr.training.feature_networks import RRDBFeatures, VGG19Features
from geosr.training.loop import Start, build_generator, train
from geosr.training.perceptual import Adversary, features_used
from tests.conftest import REPOSITORY, SAMPLE, data_file
from tests.small_training import TINY, killed_after

#: Torchvision's VGG19: places and channels of its convolutions.
VGG19 = {
    **{0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)},
    **dict.fromkeys((12, 14, 16), (256, 256)),
    19: (256, 512),
    **dict.fromkeys((21, 23, 25, 28, 30, 32, 34), (512, 512)),
}


def configured(tmp_path, text=""):
    path = tmp_path / "stage.yaml"
    stage = "perceptual: {features: 2, adversarial: 0.05, ahead: 2}\noptimiser: adam\n"
    path.write_text(
        TINY.replace("steps: 40", "steps: 8").replace("checkpoint_every: 10", "checkpoint_every: 4") + stage
    )
    path.write_text(path.read_text().replace("validate_every: 20", "validate_every: 8") + text)
    return read_config(path)


@pytest.fixture
def fidelity(tmp_path):
    """Weights of an image that adds something."""
    torch.manual_seed(0)
    network = build_generator(configured(tmp_path)).network
    torch.nn.init.normal_(network.conv_last.weight, std=1e-3)
    save_file(network.state_dict(), tmp_path / "fidelity.safetensors")
    return tmp_path / "fidelity.safetensors"


def vgg19_weights(path):
    rng = torch.Generator().manual_seed(0)
    state = {}
    for place, (before, after) in VGG19.items():
        # Such that the size of what passes stays.
        state[f"features.{place}.weight"] = torch.randn(after, before, 3, 3, generator=rng) * (2 / (9 * before)) ** 0.5
        state[f"features.{place}.bias"] = torch.zeros(after)
    state["classifier.0.weight"] = torch.zeros(1)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return state


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_vgg19_is_read_by_torchvision_s_names(tmp_path, suffix):
    state = vgg19_weights(tmp_path / f"vgg{suffix}")
    network = VGG19Features(tmp_path / f"vgg{suffix}")
    assert set(network.state_dict()) == set(state) - {"classifier.0.weight"}
    found = network(torch.rand(1, 3, 32, 32))
    assert [tuple(one.shape[1:]) for one in found] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    assert all((one < 0).any() for one in found), "before the rectifier"
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_vgg19_s_first_block_is_its_two_convolutions(tmp_path):
    state = vgg19_weights(tmp_path / "vgg.safetensors")
    image = torch.rand(1, 3, 16, 16)
    normalised = (image - torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).reshape(3, 1, 1)
    expected = torch.nn.functional.conv2d(normalised, state["features.0.weight"], padding=1).relu()
    expected = torch.nn.functional.conv2d(expected, state["features.2.weight"], padding=1)
    torch.testing.assert_close(VGG19Features(tmp_path / "vgg.safetensors")(image)[0], expected)


def test_features_of_a_published_generator_are_those_of_its_blocks(tmp_path):
    network = RRDBNet(3, 3, features=8, growth=4, blocks=3)
    save_file({key: value.half() for key, value in network.state_dict().items()}, tmp_path / "rrdb.safetensors")
    found = RRDBFeatures(tmp_path / "rrdb.safetensors", 2)(torch.rand(1, 3, 12, 12))
    assert [tuple(one.shape) for one in found] == [(1, 8, 12, 12)] * 3
    image = torch.rand(1, 3, 12, 12)
    network.load_state_dict({key: value.float() for key, value in load_file(tmp_path / "rrdb.safetensors").items()})
    expected = network.body[1](network.body[0](network.conv_first(image)))
    torch.testing.assert_close(RRDBFeatures(tmp_path / "rrdb.safetensors", 2)(image)[2], expected)


def test_the_published_generator_gives_features():
    path = data_file("weights/realesrgan_x4plus_rgb_fp16.safetensors")
    found = RRDBFeatures(path, 1)(torch.rand(1, 3, 16, 16))
    assert [one.shape[1] for one in found] == [64, 64]


def test_files_that_hold_other_weights_are_refused_in_a_line(tmp_path):
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "half.safetensors")
    (tmp_path / "text.pth").write_text("no weights")
    for path in ("half.safetensors", "text.pth", "missing.safetensors"):
        for read in (VGG19Features, lambda file: RRDBFeatures(file, 1)):
            with pytest.raises(ModelError, match=path.split(".")[0]) as refused:
                read(tmp_path / path)
            assert "\n" not in str(refused.value)


def test_what_was_compared_can_be_told(tmp_path):
    assert "unet discriminator's own layers" in features_used(Perceptual())
    assert "VGG19, vgg.pth" in features_used(Perceptual(vgg19="weights/vgg.pth"))
    assert "rrdb.safetensors" in features_used(Perceptual(rrdb="rrdb.safetensors"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("perceptual: {discriminator: plain, relativistic: true}", "relativistic needs logits"),
        ("perceptual: {vgg19: a.pth, rrdb: b.pth}", "not of both"),
        ("perceptual: {rrdb: b.pth, rgb: [B04, B03, B99]}", "bands of the network"),
        ("perceptual: {frob: 1}", "frob"),
        ("second_order: {frob: 1}", "frob"),
        ("second_order: {first: {frob: 1}}", "frob"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(tmp_path, text, reason):
    path = tmp_path / "odd.yaml"
    path.write_text(TINY + text + "\n")
    with pytest.raises(TrainingError, match=reason):
        read_config(path)


def test_half_widths_are_not_trained_against_a_discriminator(tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text(
        TINY.replace("blocks: 1}", "blocks: 1, width_features: 4}") + "learns: half_widths\nperceptual: {}\n"
    )
    with pytest.raises(TrainingError, match="the perceptual stage is the image's"):
        read_config(path)


def test_the_shipped_stage_holds_the_held_out_sets_out():
    stage, fidelity = (
        read_config(REPOSITORY / "configs" / f"{name}.yaml") for name in ("rgbn_x4_perceptual", "rgbn_x4")
    )
    assert stage.perceptual is not None
    assert stage.perceptual.pixel > stage.perceptual.adversarial
    for field in ("sources", "network", "bands", "reference_reflectance", "mtf_nyquist", "back_projection_steps"):
        assert getattr(stage, field) == getattr(fidelity, field)
    assert (stage.perceptual.betas, stage.optimiser) == ((0.5, 0.999), "adam")


def tensors(state):
    """All tensors of a checkpoint, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for one in inside for tensor in tensors(one)]


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bytes(tmp_path, fidelity):
    """Generator, discriminator and both optimisers go on from where they were."""
    config = configured(tmp_path)
    start = Start(fidelity, 0)
    with killed_after(4, tmp_path / "killed"):
        train(config, SAMPLE.parent, tmp_path / "whole", start, quiet=True)
    train(config, SAMPLE.parent, tmp_path / "killed", start, quiet=True)
    first, second = ((tmp_path / run / "weights.safetensors").read_bytes() for run in ("whole", "killed"))
    assert first == second
    first, second = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "killed"))
    assert len(tensors(first)) > 100
    assert all(torch.equal(one, two) for one, two in zip(tensors(first), tensors(second), strict=True))
    begun, ended = (load_file(path) for path in (fidelity, tmp_path / "whole" / "weights.safetensors"))
    assert not torch.equal(begun["conv_last.weight"], ended["conv_last.weight"])


def test_the_stage_needs_weights_to_begin_with(tmp_path):
    with pytest.raises(TrainingError, match="--from-weights"):
        train(configured(tmp_path), SAMPLE.parent, tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage",
    [
        "{discriminator: plain, features: 2, feature_matching: 0.1, perceptual: 0}",
        "{features: 2, relativistic: true, rrdb: rrdb.safetensors}",
    ],
)
def test_all_kinds_of_stages_train_and_are_drawn(tmp_path, fidelity, monkeypatch, stage):
    monkeypatch.setattr(training, "_LOG_EVERY", 12)
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(SAMPLE, data)
    save_file(RRDBNet(3, 3, features=4, growth=4, blocks=1).state_dict(), data / "rrdb.safetensors")
    path = tmp_path / "stage.yaml"
    path.write_text(TINY.replace("steps: 40", "steps: 12").replace("batch: 4", "batch: 1") + f"perceptual: {stage}\n")
    config = read_config(path).model_copy(update={"validate_every": 12, "validation": ()})
    train(config, data, tmp_path / "run", Start(fidelity, 0), quiet=True)
    (line, _) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"pixel", "adversarial", "discriminator", "real", "fake"} <= line.keys()
    assert ("perceptual" in line) == ("rrdb" in stage)
    assert ("feature_matching" in line) == ("plain" in stage)
    assert 0 < line["fake"] < 1
    assert (tmp_path / "run" / "curves.png").stat().st_size > 0


def test_the_generator_s_loss_leaves_the_discriminator_alone(tmp_path):
    config = configured(tmp_path)
    adversary = Adversary(config, config.perceptual, SAMPLE.parent, "cpu")
    hr, gain = torch.rand(2, 4, 48, 48), torch.ones(2, 1, 1, 1)
    sr = (hr + 0.1 * torch.randn(hr.shape)).requires_grad_()
    adversary.of_generator(sr, hr, gain, 2, bfloat16=False).backward()
    assert all(parameter.grad is None for parameter in adversary.network.parameters())
    assert sr.grad.abs().sum() > 0
    # Ahead of it, the loss is the pixels' alone.
    assert adversary.of_generator(sr, hr, gain, 1, bfloat16=False) == config.loss(sr, hr, gain)
    before = [parameter.clone() for parameter in adversary.network.parameters()]
    adversary.learn(sr.detach(), hr, 1.0, bfloat16=False)
    after = adversary.network.parameters()
    assert any(not torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_a_released_stage_leaves_the_rest_of_the_card_alone(tmp_path, fidelity, monkeypatch):
    config = configured(tmp_path)
    train(config, SAMPLE.parent, tmp_path / "run", Start(fidelity, 0), quiet=True)
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    shutil.copy(fidelity, zoo / "tiny.safetensors")
    card = ModelCard(
        name="tiny",
        description="small",
        bands=config.bands,
        reference_reflectance=config.reference_reflectance,
        mtf_nyquist=config.mtf_nyquist,
        network=NetworkSize(**config.network.model_dump()),
        weights="tiny.safetensors",
        weights_sha256=sha256(fidelity),
        halo_px=4,
        training={"image": "é"},
    )
    (zoo / "tiny.json").write_text(json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    before = json.loads((zoo / "tiny.json").read_text())
    # Figures and halo are of scenes that are not part of the repository.
    monkeypatch.setattr(release_visual_module, "read_scene", lambda *_: torch.rand(4, 48, 48))
    monkeypatch.setattr(release_visual_module, "measure_halo", lambda *_: (6, {0: 9.0, 6: 0.4}))
    stage = TrainingStage(tmp_path / "stage.yaml", tmp_path / "run", Start(fidelity, 0))
    release_visual(stage, 24, tmp_path, zoo)
    keep_figures(zoo / "tiny.json", "a command", {"set": {}})
    released = read_card_file(zoo / "tiny.json")
    assert released.digest == card.digest
    content = json.loads((zoo / "tiny.json").read_text())
    visual = content.pop("visual")
    assert content == {key: value for key, value in before.items() if key != "visual"}
    assert visual["features"] == "the unet discriminator's own layers"
    assert (visual["steps"], visual["halo_px"], visual["training"]["steps"]) == (24, 6, 8)
    assert visual["figures"] == {
        "halo_difference_dn": {"0": 9.0, "6": 0.4},
        "command": "a command",
        "held_out": {"set": {}},
    }
    mixed = read_weights(released.sharpened(1.0))
    trained = load_file(tmp_path / "run" / "weights.safetensors")
    np.testing.assert_allclose(mixed["conv_body.weight"], trained["conv_body.weight"].numpy(), atol=1e-3)
    # Of another model's weights, no more is released.
    save_file(build_generator(config).network.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="not the weights of tiny"):
        release_visual(
            TrainingStage(stage.config_path, stage.run, Start(tmp_path / "other.safetensors", 0)), 24, tmp_path, zoo
        )


def test_detail_is_what_the_source_cannot_hold():
    """At a quarter of the sampling, waves of 8 pixels are the finest; a Hann window leaks into its neighbours."""
    cols = torch.arange(128.0)
    slow, fast = (torch.sin(2 * np.pi * cols / period).expand(2, 128, 128) for period in (16, 4))
    assert detail_share(slow, 4) < 1e-3
    assert detail_share(fast, 4) > 0.999
    assert detail_share(3 * slow + fast + 5, 4) == pytest.approx(0.1, abs=0.01)
    assert detail_share(torch.ones(1, 64, 64), 4) == 0
