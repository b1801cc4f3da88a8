"""bfloat16 near float32: features as two numbers, weights rounded together, and what a card says of both."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.errors import ModelError
from geosr.inference.upscaler import ModelSpec
from geosr.model import zoo
from geosr.model.bfloat16 import Channels, Rounded, channels_of, nearest, other
from geosr.model.build import build
from geosr.model.card import ModelCard, read_card_file
from geosr.model.reduced_precision import reduce_precision
from geosr.model.rrdb import RRDBNet
from geosr.model.weights import read_rounded, read_weights
from geosr.model.zoo import ModelRef
from geosr.release import bfloat16_rounding
from geosr.release.joint_rounding import farther
from geosr.release.zoo_model import sha256
from geosr.run.cluster import _files_of
from geosr.training.data import PatchSampler
from geosr.training.loop import build_generator
from tests.conftest import SAMPLE

MTF = (0.26, 0.28, 0.24, 0.26)
DN = 10_000
CARD = zoo.read_card(zoo.DEFAULT_MODEL)

ENGINES = [
    "torch",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            not hardware.cpu_flags() & {"amx_bf16", "avx512_bf16"}, reason="needs a processor with bfloat16"
        ),
    ),
]


def changed(card, **fields):
    """Another card; a copy would keep what was worked out for the first."""
    return ModelCard(**{**{name: getattr(card, name) for name in type(card).model_fields}, **fields})


def upscaled(card, engine, precision, image):
    """Upscale an image, DN to DN."""
    reference = np.asarray(card.reference_reflectance, np.float32).reshape(-1, 1, 1)
    spec, parallel = EngineSpec(f"{engine}-cpu", precision), Parallel(1, 1)
    if engine == "torch":
        made = TorchEngine(card, build(card, MTF), spec, parallel)
    else:
        made = OpenVinoEngine(card, MTF, spec, parallel)
    lr = image.astype(np.float32) / DN / reference
    return made.upscale(lr, np.ones(lr.shape, bool)).polyphase * reference[..., None] * DN


# Numbers


def test_numbers_are_rounded_as_pytorch_rounds_them():
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32) ** 5
    ties = np.array([1 + 1 / 256, 1 + 3 / 256, -1 - 1 / 256, 0, -0.0, 2**-130], np.float32)
    for numbers in (values, ties):
        np.testing.assert_array_equal(nearest(numbers), torch.from_numpy(numbers).bfloat16().float().numpy())


def test_the_other_neighbour_is_next_beyond_the_number():
    values = np.random.default_rng(1).standard_normal(10_000).astype(np.float32)
    near, far = nearest(values), other(values)
    assert np.array_equal(far, nearest(far))
    assert ((near - values) * (far - values) < 0).all()
    assert (np.abs(far - values) >= np.abs(near - values)).all()
    # Nothing of bfloat16 is between them.
    steps = np.abs(near.view(np.int32) - far.view(np.int32))
    assert set(steps.tolist()) == {1 << 16}
    assert np.array_equal(other(near), near)


def test_channels_that_are_split_come_first():
    first, second = channels_of(["0110" + "01" + "00" + "11" + "10", "0100" + "00" * 4], 4, 2)
    assert first[0].order.tolist() == second[0].order.tolist() == [1, 2, 0, 3]
    assert [part.split for part in first] == [2, 1, 0, 2, 1]
    assert [part.split for part in second] == [1, 0, 0, 0, 0]
    assert first[1].order.tolist() == [1, 0]
    # Blocks share the order of what they are given: one that splits a channel splits those before it.
    mixed = channels_of(["1100" + "00" * 4, "1010" + "00" * 4], 4, 2)
    assert mixed[1][0].order[: mixed[1][0].split].tolist() == [0, 1, 2]


def test_the_default_model_splits_some_of_its_channels_by_sixteens():
    """Processors multiply sixteen at once."""
    channels = channels_of(CARD.bfloat16.split, CARD.network.features, CARD.network.growth)
    counts = [part.split for block in channels for part in block]
    assert not any(count % 16 for count in counts)
    marked = [text.count("1") for text in CARD.bfloat16.split]
    # None is split only because of the order that blocks share.
    assert [sum(part.split for part in block) for block in channels] == marked
    assert 0.2 < sum(marked) / sum(map(len, CARD.bfloat16.split)) < 0.7


def test_features_in_two_numbers_are_convolved_exactly():
    """Weights are those that bfloat16 has; results agree to sixteen digits."""
    rng = np.random.default_rng(2)
    image, weight = (torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((1, 6, 9, 9), (3, 6, 3, 3)))
    weight = weight.bfloat16().float()
    channels = Channels(np.array([4, 0, 1, 2, 3, 5]), 6)
    high = image[:, channels.order].bfloat16().float()
    low = (image[:, channels.order] - high).bfloat16().float()
    wide = torch.from_numpy(channels.widened(weight.numpy()))
    made = F.conv2d(torch.cat([high, low], 1).double(), wide.double())
    off = (made - F.conv2d(image.double(), weight.double())).abs().max()
    plain = (
        (F.conv2d(image.bfloat16().double(), weight.double()) - F.conv2d(image.double(), weight.double())).abs().max()
    )
    assert off < plain / 200


# Weights


def test_weights_are_rounded_together():
    """Held against all ways to round them, and against each rounded by itself."""
    rng = np.random.default_rng(3)
    ratios, best = [], []
    for _ in range(10):
        weight = torch.from_numpy(rng.standard_normal((1, 9)).astype(np.float32))
        mixed = torch.from_numpy(rng.standard_normal((200, 3)) @ rng.standard_normal((3, 9)) + 1)
        moments = mixed.T @ mixed / len(mixed)
        near, far = nearest(weight.numpy()), other(weight.numpy())

        def error(bits, weight=weight, near=near, far=far, moments=moments):
            off = torch.from_numpy(np.where(bits, far, near) - weight.numpy()).double()[0]
            return float(off @ moments @ off)

        found = error(farther(weight, moments))
        every = [error(np.array([bits])) for bits in itertools.product((False, True), repeat=9)]
        ratios.append(found / every[0])
        best.append(found <= np.quantile(every, 0.05))
    assert np.mean(ratios) < 0.6
    assert sum(best) >= 8


def test_weights_become_one_of_their_two_neighbours():
    weights = read_weights(CARD)
    rounded = read_rounded(CARD, weights).weights
    assert set(rounded) == {name for name in weights if name.startswith("body.")}
    farther_ones = total = 0
    for name, values in rounded.items():
        exact = weights[name] * np.float32(0.2) if ".conv5." in name else weights[name]
        if name.endswith(".bias"):
            np.testing.assert_array_equal(values, exact)
            continue
        near, far = nearest(exact), other(exact)
        assert ((values == near) | (values == far)).all()
        farther_ones += int((values != near).sum())
        total += values.size
    assert 0.1 < farther_ones / total < 0.5


def test_mixed_weights_are_each_rounded_by_themselves():
    card = CARD.sharpened(0.3)
    weights = read_weights(card)
    rounded = read_rounded(card, weights)
    name = "body.1.rdb2.conv3.weight"
    np.testing.assert_array_equal(rounded.weights[name], nearest(weights[name]))
    assert rounded.channels[1][0].split == read_rounded(CARD, read_weights(CARD)).channels[1][0].split


# Engines


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_image_in_bfloat16_is_near_that_in_float32(engine, sample):
    """Within 3 DN in all but a thousandth of the pixels, also of ground that is brighter than the sample."""
    plain = changed(CARD, bfloat16=None)
    for gain in (1, 2.5):
        image = np.minimum(sample[:, :76, 60:136] * gain, 9000)
        exact = upscaled(CARD, engine, "float32", image)
        off, before = (np.abs(upscaled(card, engine, "bfloat16", image) - exact) for card in (CARD, plain))
        assert 0 < np.quantile(off, 0.999) <= 3
        assert np.quantile(off, 0.999) < 0.6 * np.quantile(before, 0.999)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_is_all_split_is_that_in_float32(engine, tmp_path, sample):
    """With weights that bfloat16 has: sums are then exact to sixteen digits."""
    weights = read_weights(CARD)
    for name, values in weights.items():
        if name.startswith("body.") and name.endswith(".weight"):
            # A fifth of the last layer's are to be numbers of bfloat16.
            fifth = np.float32(0.2) if ".conv5." in name else np.float32(1)
            weights[name] = nearest(values * fifth) / fifth
    save_file(weights, tmp_path / "exact.safetensors")
    shutil.copy(CARD.folder / CARD.bfloat16.weights, tmp_path)
    own = CARD.bfloat16.model_copy(update={"split": ("1" * len(CARD.bfloat16.split[0]),) * 9})
    digest = sha256(tmp_path / "exact.safetensors")
    card = changed(
        CARD,
        folder=tmp_path,
        weights="exact.safetensors",
        weights_sha256=digest,
        bfloat16=own,
    )
    image = sample[:, :64, :64]
    off = np.abs(upscaled(card, engine, "bfloat16", image) - upscaled(card, engine, "float32", image))
    assert off.max() < 0.2


def test_nothing_split_is_what_is_only_rounded():
    """A block in two numbers is the block itself, but for what the reduced precision rounds."""
    torch.manual_seed(0)
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1).eval()
    weights = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    rounded = {
        name: values * np.float32(0.2) if ".conv5." in name else values
        for name, values in weights.items()
        if name.startswith("body.")
    }
    image = torch.rand(1, 4, 20, 20)
    with torch.inference_mode():
        exact = network.features(image)
        reduce_precision(network, torch.bfloat16, Rounded(rounded, channels_of(["0" * 24] * 3, 8, 4)))
        made = network.features(image)
    assert 0 < (made - exact).abs().max() < 0.01 * exact.abs().max()


# Cards and runs


def test_what_is_not_a_split_of_the_network_is_refused():
    split = CARD.bfloat16.model_dump()
    for wrong in (
        split["split"][:-1],
        [*split["split"][:-1], "01"],
        [text.replace("1", "2") for text in split["split"]],
    ):
        with pytest.raises(ValueError, match=r"split"):
            changed(CARD, bfloat16={**split, "split": wrong})
    with pytest.raises(ValueError, match="needs a network"):
        changed(zoo.read_card("bicubic"), bfloat16=split)


@pytest.mark.parametrize("damage", ["missing", "changed", "of another network"])
def test_damaged_weights_are_refused(damage, tmp_path):
    path = tmp_path / CARD.bfloat16.weights
    shutil.copy(CARD.folder / CARD.bfloat16.weights, path)
    own = CARD.bfloat16
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    else:
        save_file({"body.0.rdb1.conv1.weight": np.zeros(9, np.uint8)}, path)
        own = own.model_copy(update={"weights_sha256": sha256(path)})
    card = changed(CARD, folder=tmp_path, bfloat16=own)
    with pytest.raises(ModelError, match="rgbn-x4"):
        read_rounded(card, read_weights(CARD))


def test_a_run_in_bfloat16_is_of_its_split():
    """Another split is another run in bfloat16, and the same in float32."""
    none = changed(CARD, bfloat16=None)
    assert CARD.digest == none.digest == CARD.digest_in("float32") == CARD.digest_in("float16")
    assert none.digest_in("bfloat16") == none.digest
    less = CARD.bfloat16.model_copy(update={"split": CARD.bfloat16.split[1:] + CARD.bfloat16.split[:1]})
    assert len({card.digest_in("bfloat16") for card in (CARD, none, changed(CARD, bfloat16=less))}) == 3


def test_workers_are_sent_all_files_that_a_run_needs(tmp_path):
    for name in ("rgbn-x4.json", CARD.weights, CARD.bfloat16.weights):
        shutil.copy(CARD.folder / name, tmp_path)
    path = str(tmp_path / "rgbn-x4.json")
    exact, rounded = (
        ModelSpec.of(ModelRef(path), EngineSpec("torch-cpu", precision), (), plain_image=False)
        for precision in ("float32", "bfloat16")
    )
    assert set(_files_of(rounded).weights) == {CARD.weights, CARD.bfloat16.weights}
    (tmp_path / CARD.bfloat16.weights).unlink()
    assert set(_files_of(exact).weights) == {CARD.weights}
    with pytest.raises(ModelError, match="missing"):
        _files_of(rounded)


# How it is found


@pytest.fixture
def small(tmp_path, tiny):
    """The card of a network of a small configuration, whose features are all of some size."""
    torch.manual_seed(0)
    model = build_generator(tiny)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    weights = tmp_path / "tiny.safetensors"
    save_file({name: value.detach().numpy() for name, value in model.network.state_dict().items()}, weights)
    card = ModelCard(
        name="tiny",
        description="",
        bands=tiny.bands,
        reference_reflectance=tiny.reference_reflectance,
        mtf_nyquist=tiny.mtf_nyquist,
        network=tiny.network.model_dump(),
        weights=weights.name,
        weights_sha256=sha256(weights),
        halo_px=8,
        folder=tmp_path,
    )
    bfloat16_rounding.write(card, tmp_path / "tiny.json")
    return card


@pytest.mark.slow
def test_what_is_found_brings_bfloat16_nearer(tmp_path, tiny, small):
    """On its own imagery; each of the two does."""
    model, weights = build(small, MTF), read_weights(small)
    found = bfloat16_rounding.find(model, tiny, SAMPLE.parent, tmp_path / "tiny.json")
    none = found.model_copy(update={"split": ("0" * len(found.split[0]),) * 3})
    image = PatchSampler(tiny, SAMPLE.parent).batch(0)[0]
    off = []
    for own in (None, none, found):
        reduced = copy.deepcopy(model.network)
        reduce_precision(reduced, torch.bfloat16, read_rounded(changed(small, bfloat16=own), weights))
        with torch.inference_mode():
            off.append(float((reduced.polyphase(image) - model.network.polyphase(image)).square().mean().sqrt()))
    assert off[1] < 0.9 * off[0]
    assert off[2] < 0.5 * off[0]


def test_the_command_puts_what_it_finds_into_a_card(tmp_path, small, monkeypatch):
    """And leaves the rest of the card as it is."""
    card, config = tmp_path / "tiny.json", tmp_path / "tiny.yaml"
    before = json.loads(card.read_text())
    monkeypatch.setattr(sys, "argv", ["bfloat16", str(config), str(card), "--data", str(SAMPLE.parent)])
    bfloat16_rounding.main()
    after = json.loads(card.read_text())
    assert before["bfloat16"] is None
    assert before == {**after, "bfloat16": None}
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "tiny-bfloat16.safetensors",
        "tiny.safetensors",
    ]
    read, name = read_card_file(card), "body.0.rdb1.conv1.weight"
    weights = read_weights(read)
    assert not np.array_equal(read_rounded(read, weights).weights[name], nearest(weights[name]))
