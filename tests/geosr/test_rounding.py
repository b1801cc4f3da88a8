"""Training for bfloat16: the errors drawn are of rounding's size, and a network that pays for them bears them."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from geosr.errors import TrainingError
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor
from geosr.training.config import read_config
from geosr.training.rounding import Rounding, amplified, exact_in_bfloat16, penalty, strayed
from geosr.training.train import Start, build_generator, train
from tests.conftest import SAMPLE
from tests.small_training import TINY, killed_after


@pytest.fixture
def network():
    torch.manual_seed(3)
    made = RRDBNet(4, 4, features=16, growth=8, blocks=2, tail="shuffle").eval()
    torch.nn.init.normal_(made.conv_last.weight, std=0.05)
    for parameter in made.body.parameters():
        # As large as trained ones, so that dense blocks matter.
        parameter.data *= 5
    made.load_state_dict(exact_in_bfloat16(made))
    return made


def rounded(network: RRDBNet, lr: torch.Tensor) -> torch.Tensor:
    """What bfloat16 really makes of it."""
    narrow = copy.deepcopy(network)
    narrow.narrow(torch.bfloat16)
    return narrow(lr)


def rms(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


@torch.inference_mode()
@pytest.mark.parametrize("amplitude", [1.0, 8.0])
def test_the_errors_are_of_the_size_of_rounding(network, amplitude):
    lr = torch.rand(4, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    exact = network(lr)
    with amplified(network, amplitude, seed=1):
        drawn = network(lr)
    ratio = rms(drawn - exact) / (amplitude * rms(rounded(network, lr) - exact))
    # A little less, for PyTorch rounds a convolution's result before its activation, and then again.
    assert 0.7 < ratio < 1.1


@torch.inference_mode()
def test_errors_end_with_their_context_and_depend_on_their_seed(network):
    lr = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    exact, drawn = network(lr), []
    for seed in (1, 1, 2):
        with amplified(network, 8, seed):
            drawn.append(network(lr))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(network(lr), exact)


def test_exact_weights_are_those_that_are_narrowed(network):
    torch.nn.init.normal_(network.conv_first.weight)
    torch.nn.init.normal_(network.body[0].rdb1.conv1.weight)
    exact = exact_in_bfloat16(network)
    own = network.state_dict()
    assert exact.keys() == own.keys()
    assert torch.equal(exact["conv_first.weight"], own["conv_first.weight"])
    assert torch.equal(exact["conv_last.weight"], own["conv_last.weight"])
    assert not torch.equal(exact["body.0.rdb1.conv1.weight"], own["body.0.rdb1.conv1.weight"])
    for name, weight in exact.items():
        if name.startswith("body."):
            assert torch.equal(weight, weight.bfloat16().float())
            assert torch.allclose(weight, own[name], rtol=2**-8)


def test_to_be_off_adds_to_the_error_that_was_there():
    held, hr = torch.zeros(3, 2, 8, 8), torch.full((3, 2, 8, 8), 0.3)
    gain = torch.tensor([1.0, 1.0, 0.5]).reshape(3, 1, 1, 1)
    assert strayed(held, held, hr, gain).item() == pytest.approx((0.3 + 0.3 + 0.6) / 3, rel=1e-4)
    assert strayed(held + 0.4, held, hr, gain).item() == pytest.approx((0.5 + 0.5 + 1.0) / 3, rel=1e-4)
    # Where it is off to does not matter: nothing is learned of the truth.
    assert strayed(held - 0.4, held, hr, gain) == strayed(held + 0.4, held, hr, gain)


def test_a_network_that_pays_for_rounding_bears_it_better(network):
    model = Generator(Sensor([2.0] * 4, 4), network=network.train(), steps=0)
    lr = torch.rand(6, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    gain = torch.ones(6, 1, 1, 1)
    with torch.inference_mode():
        held = model(lr).clone()
        before = rms(rounded(network, lr) - network(lr))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(150):
        sr = model(lr)
        loss = strayed(sr, held, held + 0.1, gain) + penalty(model, lr, sr, Rounding(), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.load_state_dict(exact_in_bfloat16(network))
    with torch.inference_mode():
        after = rms(rounded(network, lr) - network(lr))
        assert after < 0.7 * before
        assert rms(model(lr) - held) < 0.1 * float(held.std())


@pytest.fixture
def stage(tmp_path):
    """A configuration of eight steps, and what it begins with."""
    path = tmp_path / "rounding.yaml"
    short = TINY.replace("steps: 40", "steps: 8").replace("checkpoint_every: 10", "checkpoint_every: 4")
    path.write_text(short + "rounding: {}\n")
    config = read_config(path)
    torch.manual_seed(0)
    network = build_generator(config).network
    torch.nn.init.normal_(network.conv_last.weight, std=1e-3)
    save_file(network.state_dict(), tmp_path / "image.safetensors")
    return config, Start(tmp_path / "image.safetensors", 0)


def test_a_run_goes_on_to_the_same_bytes_and_leaves_exact_weights(tmp_path, stage):
    config, start = stage
    with killed_after(4, tmp_path / "killed"):
        train(config, SAMPLE.parent, tmp_path / "whole", start, quiet=True)
    train(config, SAMPLE.parent, tmp_path / "killed", start, quiet=True)
    first, second = ((tmp_path / run / "weights.safetensors").read_bytes() for run in ("whole", "killed"))
    assert first == second
    weights, begun = load_file(tmp_path / "whole" / "weights.safetensors"), load_file(start.weights)
    inside = weights["body.0.rdb1.conv1.weight"]
    assert torch.equal(inside, inside.bfloat16().float())
    assert not torch.equal(inside, begun["body.0.rdb1.conv1.weight"].bfloat16().float())
    assert not torch.equal(weights["conv_first.weight"], weights["conv_first.weight"].bfloat16().float())


def test_there_has_to_be_an_image_to_hold(tmp_path, stage):
    with pytest.raises(TrainingError, match="name its weights"):
        train(stage[0], SAMPLE.parent, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        "rounding: {}\nlearns: half_widths\nnetwork: {features: 8, growth: 4, blocks: 1, width_features: 4}\n",
        "rounding: {}\nperceptual: {features: 2}\n",
    ],
)
def test_rounding_is_a_stage_of_its_own(tmp_path, text):
    kept = "\n".join(line for line in TINY.splitlines() if not ("network:" in text and line.startswith("network:")))
    path = tmp_path / "odd.yaml"
    path.write_text(kept + "\n" + text)
    with pytest.raises(TrainingError, match="rounding is a stage of its own"):
        read_config(path)
