"""The perceptual stage: discriminators, losses, features, the second-order degradation, and a run that resumes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import geosr.training.release_visual as release_visual_module
from geosr.errors import ModelError, TrainingError
from geosr.evaluate.sharpness import detail_share
from geosr.model.card import ModelCard, NetworkSize, read_card_file
from geosr.model.discriminator import PlainDiscriminator, UNetDiscriminator, build_discriminator
from geosr.model.rrdb import RRDBNet
from geosr.model.weights import read_weights
from geosr.training.adversarial import AdversarialLoss, grid_loss, layers_loss
from geosr.training.config import Perceptual, read_config
from geosr.training.data import PatchSampler
from geosr.training.features import RRDBFeatures, VGG19Features
from geosr.training.perceptual import Adversary, features_used
from geosr.training.release import Stage, sha256
from geosr.training.release_visual import keep_figures, release_visual
from geosr.training.second_order import Pass, SecondOrder, blur_kernel, degrade_twice, sinc_kernel
from geosr.training.train import Start, build_generator, train
from tests.conftest import REPOSITORY, SAMPLE, data_file
from tests.geosr.test_training import TINY

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


@pytest.mark.parametrize("bands", [1, 3, 4, 10])
@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (24, 40), (29, 35)])
def test_the_u_net_judges_each_pixel(bands, rows, cols):
    logits, features = UNetDiscriminator(bands, 4)(torch.randn(2, bands, rows, cols))
    assert logits.shape == (2, 1, rows, cols)
    assert [one.shape[1] for one in features] == [4, 8, 16, 32, 16, 8, 4]
    assert features[-1].shape[-2:] == (rows, cols)


def test_the_u_net_is_that_of_the_paper():
    """Names and shapes of the published discriminator's layers, whose kernels are normalised but for first and last."""
    state = UNetDiscriminator(3, 64).state_dict()
    shapes = {key.split(".")[0]: tuple(value.shape) for key, value in state.items() if value.dim() == 4}
    assert shapes == {
        "conv0": (64, 3, 3, 3),
        "conv1": (128, 64, 4, 4),
        "conv2": (256, 128, 4, 4),
        "conv3": (512, 256, 4, 4),
        "conv4": (256, 512, 3, 3),
        "conv5": (128, 256, 3, 3),
        "conv6": (64, 128, 3, 3),
        "conv7": (64, 64, 3, 3),
        "conv8": (64, 64, 3, 3),
        "conv9": (1, 64, 3, 3),
    }
    assert {key.split(".")[0] for key in state if "original" in key} == {f"conv{i}" for i in range(1, 9)}


def test_normalised_kernels_have_the_spectral_norm_1():
    network = UNetDiscriminator(4, 4)
    torch.nn.init.normal_(network.conv2.parametrizations.weight.original, std=3)
    for _ in range(50):
        network(torch.randn(1, 4, 16, 16))
    network.eval()
    for conv in (network.conv1, network.conv2, network.conv5, network.conv8):
        norm = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, abs=0.02)
    assert float(torch.linalg.matrix_norm(network.conv0.weight.detach().flatten(1), 2)) != pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("side", [16, 37])
def test_the_plain_discriminator_gives_a_probability_of_the_whole(side):
    probability, features = PlainDiscriminator(4, 4)(5 * torch.randn(3, 4, side, side))
    assert probability.shape == (3, 1)
    assert ((probability > 0) & (probability < 1)).all()
    assert len(features) == 8
    assert [one.shape[1] for one in features] == [4, 4, 8, 8, 16, 16, 32, 32]


@pytest.mark.parametrize("name", ["unet", "plain"])
def test_a_discriminator_learns_to_tell_stripes_from_noise(name):
    torch.manual_seed(0)
    network = build_discriminator(name, 2, 4)
    loss = AdversarialLoss(logits=name == "unet")
    stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4).expand(1, 2, 16, 16)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2, betas=(0.5, 0.999))
    for _ in range(30):
        real, fake = (network(image)[0] for image in (stripes.repeat(4, 1, 1, 1), torch.randn(4, 2, 16, 16)))
        optimiser.zero_grad()
        loss.of_discriminator(real, fake).backward()
        optimiser.step()
    assert float(loss.score(real)) > float(loss.score(fake)) + 0.1


@pytest.mark.parametrize("loss", [AdversarialLoss(), AdversarialLoss(relativistic=True), AdversarialLoss(logits=False)])
def test_each_side_s_loss_falls_as_it_wins(loss):
    low, high = (torch.full((2, 1), value) for value in ((-2.0, 2.0) if loss.logits else (0.1, 0.9)))
    assert loss.of_discriminator(high, low) < loss.of_discriminator(low, high)
    assert loss.of_generator(low, high) < loss.of_generator(high, low)
    fake = low.clone().requires_grad_()
    loss.of_generator(high, fake).backward()
    assert (fake.grad < 0).all()
    fake.grad = None
    loss.of_discriminator(high, fake).backward()
    assert (fake.grad > 0).all()


def test_adversarial_losses_are_the_binary_cross_entropy():
    zero = torch.zeros(3, 1)
    for loss, even in ((AdversarialLoss(), zero), (AdversarialLoss(logits=False), zero + 0.5)):
        assert float(loss.of_discriminator(even, even)) == pytest.approx(np.log(2))
        assert float(loss.of_generator(even, even)) == pytest.approx(np.log(2))
        assert float(loss.score(even)) == 0.5
    # Relativistic, only differences count.
    relativistic = AdversarialLoss(relativistic=True)
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    torch.testing.assert_close(relativistic.of_generator(real, fake), relativistic.of_generator(real + 3, fake + 3))
    assert AdversarialLoss().of_generator(real, fake) == AdversarialLoss().of_generator(real + 3, fake)


def test_features_are_compared_relative_to_their_size():
    true = [torch.full((1, 2, 4, 4), 10.0), torch.full((1, 2, 4, 4), 0.1)]
    made = [(1.5 * true[0]).requires_grad_(), (1.1 * true[1]).requires_grad_()]
    assert float(layers_loss(true, true)) == 0
    assert layers_loss(made, true).item() == pytest.approx((0.5 + 0.1) / 2, rel=1e-3)
    loss = layers_loss(made, true, (3.0, 1.0))
    assert loss.item() == pytest.approx((3 * 0.5 + 0.1) / 4, rel=1e-3)
    loss.backward()
    assert (made[0].grad > 0).all()


def test_only_what_repeats_with_every_lr_pixel_is_a_grid():
    pattern = torch.randn(1, 1, 4, 4)
    repeated = pattern.repeat(2, 3, 8, 8)
    assert float(grid_loss(repeated, 4)) == pytest.approx(float(pattern.abs().mean()), rel=1e-5)
    # What repeats with half of the frequency, and changes its sign in between, is none.
    assert float(grid_loss(torch.cat([pattern, -pattern], dim=-1).repeat(2, 3, 8, 4), 4)) == pytest.approx(0, abs=1e-6)


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


def test_the_second_order_degradation_depends_on_its_numbers_alone():
    hr = torch.rand(5, 4, 96, 64)
    one, two, other = (degrade_twice(hr, 4, SecondOrder(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (5, 4, 24, 16)
    assert one.isfinite().all()
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    # Each image its own way: the same image, five times, is five.
    many = degrade_twice(hr[:1].expand(5, -1, -1, -1), 4, SecondOrder(), torch.Generator().manual_seed(1))
    assert len({float(image.sum()) for image in many}) == 5


def test_the_second_order_degradation_keeps_brightness_and_place():
    ramp = torch.linspace(0.1, 0.5, 160).expand(40, 2, 160, 160)
    calm = Pass(noise=(1e-6, 1e-6))
    lr = degrade_twice(ramp, 4, SecondOrder(calm, calm), torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(ramp, 4)
    # Ringing changes a slope's level, not its place; margins saw it mirrored.
    assert (lr - expected)[..., 8:-8, 8:-8].abs().mean() < 0.01
    assert (lr - expected)[..., 8:-8, 8:-8].mean().abs() < 1e-3


def test_bands_do_not_share_their_noise():
    lr = degrade_twice(torch.full((20, 2, 96, 96), 0.3), 4, SecondOrder(), torch.Generator().manual_seed(0))
    noise = lr - lr.mean(dim=(-2, -1), keepdim=True)
    together = (noise[:, 0] * noise[:, 1]).mean() / noise.square().mean()
    assert abs(float(together)) < 0.1


def test_kernels_of_the_second_order_degradation():
    for kernel in (blur_kernel(13, (2.0, 1.0), 0.3), blur_kernel(13, (2, 1), 0, "plateau", 1.5), sinc_kernel(21, 1.2)):
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    y, x = np.mgrid[-10:11, -10:11]
    kernel = blur_kernel(21, (2.0, 1.0), 0.0)
    assert np.sqrt((kernel * x**2).sum()) == pytest.approx(2, rel=0.01)
    assert np.sqrt((kernel * y**2).sum()) == pytest.approx(1, rel=0.01)
    # A sinc passes slow waves and stops fast ones.
    sinc = sinc_kernel(21, np.pi / 2)
    passed, stopped = (abs((sinc * np.cos(frequency * x)).sum()) for frequency in (0.3, 2.8))
    assert passed > 0.9 > 0.1 > stopped


def test_patches_are_degraded_as_configured(tmp_path):
    config = configured(tmp_path, "second_order: {last_sinc: 0}\n")
    sampler = PatchSampler(config, SAMPLE.parent)
    lr, hr, _ = sampler.batch(3)
    assert (lr.shape, hr.shape) == ((4, 4, 12, 12), (4, 4, 48, 48))
    assert torch.equal(lr, PatchSampler(config, SAMPLE.parent).batch(3)[0])
    plain = PatchSampler(config.model_copy(update={"second_order": None}), SAMPLE.parent)
    assert not torch.equal(lr, plain.batch(3)[0])
    for low, high in zip(lr, torch.nn.functional.avg_pool2d(hr, 4), strict=True):
        assert np.corrcoef(low.flatten(), high.flatten())[0, 1] > 0.8


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


def test_a_run_goes_on_to_the_same_bytes(tmp_path, fidelity):
    """Of both networks: generator, discriminator and their optimisers are where they were."""
    config = configured(tmp_path)
    start = Start(fidelity, 0)
    train(config, SAMPLE.parent, tmp_path / "whole", start, quiet=True)
    # What a run that was killed after step 4 has: a schedule of eight steps is another than one of four.
    kept = {}

    def keep(self, step, *arguments):
        save(self, step, *arguments)
        if step == 4:
            kept["folder"] = shutil.copytree(self.path, tmp_path / "killed")

    from geosr.training.run import RunFolder

    save = RunFolder.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save", keep)
        train(config, SAMPLE.parent, tmp_path / "again", start, quiet=True)
    train(config, SAMPLE.parent, kept["folder"], start, quiet=True)
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


@pytest.mark.parametrize(
    "stage",
    [
        "{discriminator: plain, features: 2, feature_matching: 0.1, perceptual: 0}",
        "{features: 2, relativistic: true, rrdb: rrdb.safetensors}",
    ],
)
def test_all_kinds_of_stages_train_and_are_drawn(tmp_path, fidelity, stage):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(SAMPLE, data)
    save_file(RRDBNet(3, 3, features=4, growth=4, blocks=1).state_dict(), data / "rrdb.safetensors")
    path = tmp_path / "stage.yaml"
    path.write_text(TINY.replace("steps: 40", "steps: 50").replace("batch: 4", "batch: 1") + f"perceptual: {stage}\n")
    config = read_config(path).model_copy(update={"validate_every": 50, "validation": ()})
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
    stage = Stage(tmp_path / "stage.yaml", tmp_path / "run", Start(fidelity, 0))
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
        release_visual(Stage(stage.config_path, stage.run, Start(tmp_path / "other.safetensors", 0)), 24, tmp_path, zoo)


def test_detail_is_what_the_source_cannot_hold():
    """At a quarter of the sampling, waves of 8 pixels are the finest; a Hann window leaks into its neighbours."""
    cols = torch.arange(128.0)
    slow, fast = (torch.sin(2 * np.pi * cols / period).expand(2, 128, 128) for period in (16, 4))
    assert detail_share(slow, 4) < 1e-3
    assert detail_share(fast, 4) > 0.999
    assert detail_share(3 * slow + fast + 5, 4) == pytest.approx(0.1, abs=0.01)
    assert detail_share(torch.ones(1, 64, 64), 4) == 0
