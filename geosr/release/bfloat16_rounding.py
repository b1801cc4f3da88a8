"""Search for a card's bfloat16 entries: which channels are split, and what weights are rounded to.

See :mod:`geosr.model.bfloat16` for what it is used for. Both are found on patches as the network is trained on.

python -m geosr.release.bfloat16_rounding CONFIG CARD --data FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor, nn

from geosr.model.build import build
from geosr.model.card import Bfloat16, ModelCard, read_card_file
from geosr.model.generator import Generator
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.rrdb import DenseBlock
from geosr.release.joint_rounding import farther
from geosr.training.config import TrainingConfig, read_config
from geosr.training.data import PatchSampler

_COMMAND = "python -m geosr.release.bfloat16_rounding"

#: Share that may be left of the square of the error that is made by rounding features.
_LEFT = 0.08

#: Batches of patches that are looked at.
_BATCHES = 24

#: Channels that are split at a time: processors multiply so many at once, and a split of few costs as many steps.
_AT_ONCE = 16

#: Halvings of the interval in which the price of a multiply-add is looked for.
_HALVINGS = 60


def find(model: Generator, config: TrainingConfig, data: Path, card: Path) -> Bfloat16:
    """Find the entry for a model's card, at that path; writes the file of weights beside it."""
    assert model.network is not None
    sampler = PatchSampler(config, data)
    # Of steps that no training comes to.
    batches = [sampler.batch(-1 - number)[0] for number in range(_BATCHES)]
    split = find_split(model, batches, config.reference_reflectance)
    path = card.with_name(f"{card.stem}-bfloat16.safetensors")
    content = save(round_weights(model, batches))
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Bfloat16(split=split, weights=path.name, weights_sha256=sha256, command=_COMMAND)


def find_split(model: Generator, batches: Sequence[Tensor], reference: Sequence[float]) -> tuple[str, ...]:
    """The channels to split, from images ``(n, bands, rows, cols)`` in units of the bands' ``reference`` reflectance.

    Slopes of the image tell how far it moves when a feature does. Times what bfloat16 takes from that, it is the error
    that a channel makes; those of which it is large beside what it costs to split them are split, until little is left.
    """
    blocks = _blocks(model)
    errors = _errors(model, blocks, batches, torch.tensor(reference).reshape(-1, 1, 1))
    growth, features = blocks[0].conv1.out_channels, blocks[0].conv5.out_channels
    starts = [features + growth * number for number in range(4)]
    # All blocks share their input's channels; others are in an order of their own.
    common = np.argsort(-np.sum([one[:features] for one in errors], axis=0), kind="stable")
    orders = [
        [common, *(start + np.argsort(-one[start : start + growth], kind="stable") for start in starts)]
        for one in errors
    ]
    # A channel costs what all layers make that read it.
    costs = [features + growth * (4 - number) for number in range(5)]

    def chosen(price: float) -> list[NDArray[np.bool_]]:
        return [_worth(one, parts, [price * cost for cost in costs]) for one, parts in zip(errors, orders, strict=True)]

    low, high = 0.0, max(float(one.max()) for one in errors)
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        left = sum(one[~found].sum() for one, found in zip(errors, chosen(price), strict=True))
        low, high = (price, high) if left <= _LEFT * sum(one.sum() for one in errors) else (low, price)
    return tuple("".join(map(str, found.astype(int))) for found in chosen(low))


def round_weights(model: Generator, batches: Sequence[Tensor]) -> dict[str, NDArray[np.uint8]]:
    """By layer of the dense blocks, which weights become the farther of their neighbours: bits, packed."""
    assert model.network is not None
    names = {module: name for name, module in model.network.named_modules()}
    found = {}
    for block, moments in _moments(model, _blocks(model), batches).items():
        for number, conv in enumerate((block.conv1, block.conv2, block.conv3, block.conv4, block.conv5), start=1):
            weight = conv.weight.detach() * (RESIDUAL_SCALE if number == 5 else 1)
            flat = weight.flatten(1)
            # What a layer reads, the last one reads as well, and first.
            bits = farther(flat, moments[: flat.shape[1], : flat.shape[1]])
            found[f"{names[block]}.conv{number}.weight"] = np.packbits(bits)
    return found


def _blocks(model: Generator) -> list[DenseBlock]:
    assert model.network is not None
    return [module for module in model.network.modules() if isinstance(module, DenseBlock)]


def _worth(
    errors: NDArray[np.float64], parts: Sequence[NDArray[np.intp]], prices: Sequence[float]
) -> NDArray[np.bool_]:
    """Which channels are worth their part's price: the first so many of each part that are, together, by most."""
    worth = np.zeros(len(errors), bool)
    for order, price in zip(parts, prices, strict=True):
        counts = np.arange(0, len(order) + 1, min(_AT_ONCE, len(order)))
        gains = np.concatenate([[0], np.cumsum(errors[order] - price)])
        worth[order[: counts[gains[counts].argmax()]]] = True
    return worth


def _errors(
    model: Generator, blocks: Sequence[DenseBlock], batches: Sequence[Tensor], unit: Tensor
) -> list[NDArray[np.float64]]:
    """Per block and channel that its last layer reads, the square of what rounding it does to the image."""
    generator = torch.Generator().manual_seed(0)
    errors = [np.zeros(block.conv5.in_channels) for block in blocks]
    for lr in batches:
        with _kept(blocks) as kept:
            image = model(lr) * unit
            # The square of a random sum of all pixels' errors is, on average, the sum of their squares.
            signs = torch.randint(0, 2, image.shape, generator=generator) * 2 - 1
            (image * signs).sum().backward()
        for number, block in enumerate(blocks):
            errors[number] += np.concatenate([_squares(feature) for feature in kept[block]])
    model.zero_grad()
    return errors


def _squares(feature: Tensor) -> NDArray[np.float64]:
    assert feature.grad is not None
    taken = feature.detach() - feature.detach().bfloat16().float()
    moved: NDArray[np.float64] = (taken * feature.grad).double().square().sum(dim=(0, 2, 3)).numpy()
    return moved


@contextmanager
def _kept(blocks: Sequence[DenseBlock]) -> Iterator[dict[DenseBlock, list[Tensor]]]:
    """Records of blocks during a pass that is made meanwhile: their input, and the output of four layers."""
    kept: dict[DenseBlock, list[Tensor]] = {block: [] for block in blocks}

    def keep(block: DenseBlock) -> Any:
        def hook(_module: nn.Module, _given: Any, feature: Tensor) -> Tensor:
            # Another tensor than what was given, so that its slope is that of this use alone.
            feature = feature * 1
            feature.retain_grad()
            kept[block].append(feature)
            return feature

        return hook

    hooks = [block.kept.register_forward_hook(keep(block)) for block in blocks]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def _moments(model: Generator, blocks: Sequence[DenseBlock], batches: Sequence[Tensor]) -> dict[DenseBlock, Tensor]:
    """Per block, the mean products of all numbers that its last layer multiplies, ``(in * 9, in * 9)``."""
    moments: dict[DenseBlock, Tensor] = {}

    def add(block: DenseBlock) -> Any:
        def hook(_module: nn.Module, given: tuple[Tensor]) -> None:
            windows = nn.functional.unfold(given[0], 3).transpose(1, 2).flatten(0, 1)
            moments[block] = moments.get(block, 0) + (windows.T @ windows).double() / len(windows) / len(batches)

        return hook

    hooks = [block.conv5.register_forward_pre_hook(add(block)) for block in blocks]
    try:
        for lr in batches:
            model(lr)
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def write(card: ModelCard, path: Path) -> None:
    """Put a card in place."""
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Find what a card says of bfloat16, and put it there.")
    parser.add_argument("config", type=Path, help="what the image was trained with")
    parser.add_argument("card", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    arguments = parser.parse_args()
    config, card = read_config(arguments.config), read_card_file(arguments.card)
    found = find(build(card, config.mtf_nyquist), config, arguments.data, arguments.card)
    write(card.model_copy(update={"bfloat16": found}), arguments.card)


if __name__ == "__main__":
    main()
