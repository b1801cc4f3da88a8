"""Networks load published checkpoints, cards hold what they say, bands meet by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geosr.engine import choose_engine
from geosr.errors import ModelError, UsageError
from geosr.model import zoo
from geosr.model.bands import map_bands
from geosr.model.build import build
from geosr.model.card import read_card_file
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor
from geosr.model.stack import build_stack
from tests.conftest import RGBN, data_file


def test_published_weights_load_and_upscale():
    state = load_file(data_file("weights/realesrgan_x4plus_rgb_fp16.safetensors"))
    network = RRDBNet(3, 3).eval()
    network.load_state_dict(state)
    # A smooth ramp has to come out as the same ramp: the generator keeps colours.
    ramp = torch.linspace(0.2, 0.8, 24).expand(1, 3, 24, 24).contiguous()
    with torch.inference_mode():
        out = network(ramp)
    assert out.shape == (1, 3, 96, 96)
    assert (out - torch.nn.functional.interpolate(ramp, scale_factor=4, mode="bilinear")).abs()[
        ..., 16:-16
    ].max() < 0.03


def test_cost_of_the_published_network():
    assert RRDBNet(3, 3).multiply_adds_per_lr_pixel() == pytest.approx(17.9e6, rel=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"base": "none"}, "base, a network, or both"),
        ({"network": {"features": 8, "growth": 4, "blocks": 1}}, "a network needs bands"),
        ({"bands": ["a", "b"], "mtf_nyquist": [0.3]}, "one value per band"),
        ({"bands": ["a"], "mtf_nyquist": [1.5]}, "between 0 and 1"),
        ({"bands": ["a"], "reference_reflectance": [0]}, "between 0.0001 and 100"),
        ({"halo_px": -1}, "halo_px"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_cards_that_make_no_model_are_refused(tmp_path, content, message):
    path = tmp_path / "card.json"
    path.write_text(json.dumps({"name": "x", "description": "x", "halo_px": 2, **content}))
    with pytest.raises(ModelError, match=message):
        read_card_file(path)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("onnx", "auto", "auto"), "not onnx"),
        (("auto", "gpu", "float32"), "not gpu"),
        (("auto", "cpu", "int8"), "not int8"),
        (("torch", "cpu", "float16"), "torch-cpu has no precision float16"),
        (("openvino", "cuda", "auto"), "--engine torch"),
        (("winograd", "cuda", "auto"), "--engine torch"),
    ],
)
def test_engines_that_do_not_exist_are_refused(wanted, message):
    with pytest.raises(UsageError, match=message):
        choose_engine(*wanted)


def test_autocast_reaches_the_network_alone():
    """As in training on a processor with fast bfloat16: everything around the network stays exact."""
    model = Generator(Sensor([2.09] * 4, 4), steps=1)
    lr = torch.rand(1, 4, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(lr)
    with torch.inference_mode():
        assert (rounded == model(lr)).all()


def test_an_untrained_network_adds_nothing():
    sensor = Sensor([2.0] * 4, 4)
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle")
    lr = torch.rand(1, 4, 12, 12)
    with torch.inference_mode():
        torch.testing.assert_close(Generator(sensor, network=network)(lr), Generator(sensor)(lr))


def test_the_default_is_within_its_bounds():
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    assert card.bands == RGBN
    assert card.scale == 4
    assert card.multiply_adds_per_lr_px <= 2_000_000
    generator = build(card, [None] * 4)
    assert generator.network.multiply_adds_per_lr_pixel() == card.multiply_adds_per_lr_px
    assert card.weights_path.stat().st_size <= 10_000_000
    assert set(card.training) == {"image", "half_widths"}
    assert card.figures["held_out"]
    assert 0 < card.effective_resolution_lr_px < 1


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_builds_and_runs(name):
    card = zoo.read_card(name)
    generator = build(card, [None] * 4) if card.stack is None else build_stack(card)
    bands = len(card.bands or range(4))
    with torch.inference_mode():
        out = generator(torch.rand(1, bands, 20, 16))
    assert out.shape == (1, bands, 80, 64)
    assert card.description


def test_a_stack_is_not_built_as_if_all_bands_were_alike():
    with pytest.raises(ModelError, match="two sampling distances"):
        build(zoo.read_card("s2-ten-x4"), [None] * 10)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "backprojection"])
def test_halos_of_baselines_are_their_reach(name):
    card = zoo.read_card(name)
    generator = build(card, [0.26])
    size = 2 * card.halo_px + 9
    image = torch.rand(1, 1, size, size)
    disturbed = image + torch.rand_like(image)
    core = slice(card.halo_px, card.halo_px + 9)
    disturbed[..., core, :] = image[..., core, :]
    # Rows within the halo may differ, the core must see no farther.
    wide = torch.nn.functional.pad(image, (40, 40, 40, 40), mode="replicate")
    with torch.inference_mode():
        near = generator(image)[..., 4 * card.halo_px : -4 * card.halo_px or None, :]
        far = generator(wide)[..., 4 * (card.halo_px + 40) : -4 * (card.halo_px + 40), 160:-160]
        inner = slice(4 * card.halo_px, -4 * card.halo_px or None)
        torch.testing.assert_close(near[..., inner], far[..., inner], atol=1e-5, rtol=0)


def test_unknown_models_and_damaged_ones(tmp_path):
    with pytest.raises(ModelError, match="no model nonsense: there are rgbn-x4"):
        zoo.read_card("nonsense")
    with pytest.raises(ModelError, match="cannot read the model card"):
        zoo.read_card(str(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text('{"name": "x"}')
    with pytest.raises(ModelError, match="not a model card"):
        zoo.read_card(str(tmp_path / "x.json"))
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    content = card.model_dump(mode="json")
    (tmp_path / "copy.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="missing"):
        build(read_card_file(tmp_path / "copy.json"), [None] * 4)
    (tmp_path / card.weights).write_bytes(card.weights_path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="changed or damaged"):
        build(read_card_file(tmp_path / "copy.json"), [None] * 4)
    (tmp_path / card.weights).write_bytes(card.weights_path.read_bytes())
    assert read_card_file(tmp_path / "copy.json").digest == card.digest
    build(read_card_file(tmp_path / "copy.json"), [None] * 4)


CARD = zoo.read_card(zoo.DEFAULT_MODEL)


def stack(*values: float) -> np.ndarray:
    return np.stack([np.full((2, 2), value, np.float32) for value in values])


def test_bands_are_matched_by_name_and_come_back_in_the_scenes_order():
    mapping = map_bands(("B04", "B11", "B08", "B02", "B03"), CARD, plain_image=False)
    assert mapping.keep == ("B04", "B08", "B02", "B03")
    entered = mapping.enter(stack(4, 8, 2, 3))
    assert entered[:, 0, 0].tolist() == [2, 3, 4, 8]
    assert mapping.leave(entered)[:, 0, 0].tolist() == [4, 8, 2, 3]


def test_pictures_are_stood_in_for():
    mapping = map_bands(("red", "green", "blue"), CARD, plain_image=True)
    entered = mapping.enter(stack(0.3, 0.6, 0.9))
    np.testing.assert_allclose(entered[:, 0, 0], [0.9, 0.6, 0.3, 0.6], atol=1e-6)
    np.testing.assert_allclose(mapping.leave(entered)[:, 0, 0], [0.3, 0.6, 0.9], atol=1e-6)
    grey = map_bands(("grey",), CARD, plain_image=True)
    assert grey.enter(stack(0.4))[:, 0, 0].tolist() == pytest.approx([0.4] * 4)
    assert grey.leave(stack(0.1, 0.2, 0.3, 0.4))[0, 0, 0] == pytest.approx(0.25)
    assert "stands in" in mapping.note
    assert "grey" in grey.note


def test_reflectance_is_never_stood_in_for():
    with pytest.raises(ModelError, match="no B08 among B02, B03, B04"):
        map_bands(("B02", "B03", "B04"), CARD, plain_image=False)
    with pytest.raises(ModelError, match="--bands"):
        map_bands(("band 1", "band 2", "band 3", "band 4"), CARD, plain_image=False)
    assert map_bands(("B11", "x"), zoo.read_card("bicubic"), plain_image=False).keep == ("B11", "x")


def test_half_widths_come_with_the_same_image():
    torch.manual_seed(0)
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle", width_features=6)
    model = Generator(Sensor([2.09] * 4, 4), network=network, width_factors=(1, 2, 3, 4))
    lr = torch.rand(1, 4, 12, 12)
    image, half_width = model.with_half_width(lr)
    assert (image == model(lr)).all()
    assert half_width.shape == image.shape
    assert (half_width > 0).all()
    model.set_width_factors((1.0,))
    _, uncalibrated = model.with_half_width(lr)
    factors = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1)
    torch.testing.assert_close(half_width, factors * uncalibrated)


def test_half_widths_do_not_steer_the_image():
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle", width_features=6)
    torch.nn.init.normal_(network.width.conv_last.weight)
    lr = torch.rand(1, 4, 8, 8)
    model = Generator(Sensor([2.09] * 4, 4), network=network)
    model.with_half_width(lr)[1].sum().backward()
    assert network.width.conv_in.weight.grad is not None
    assert network.conv_first.weight.grad is None


def test_a_network_without_the_head_has_no_half_widths():
    model = Generator(Sensor([2.09] * 4, 4), network=RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle"))
    with pytest.raises(ValueError, match="no head"):
        model.with_half_width(torch.rand(1, 4, 8, 8))
