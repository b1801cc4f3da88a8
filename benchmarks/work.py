"""Pixels that engines compute for a chunk: fewer than its window has, because layers drop margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geosr.engine.winograd.layout import Region
from geosr.model.card import ModelCard
from geosr.model.layer_margins import margins

if TYPE_CHECKING:
    from torch import nn


def needed_margins(card: ModelCard, engine: str) -> list[int]:
    """Margins that an engine has the input of each dense block with, and all that follows the blocks; LR pixels."""
    assert card.network is not None
    needed = margins(card.network.blocks, card.halo_px)
    if engine != "winograd-cpu":
        return needed
    # Its tiles stay whole.
    whole = Region(0, 1, 1)
    return [card.halo_px - whole.inside(card.halo_px - margin).margin for margin in needed]


def multiply_adds_of_chunk(card: ModelCard, engine: str, core_px: int) -> int:
    """Those of the image's layers at low resolution for a chunk, as a direct convolution has them."""
    # What is timed may not load PyTorch: the command does not.
    from geosr.model.rrdb import RRDBNet

    assert card.network is not None
    assert card.network.tail == "shuffle", "a tail at high resolution is counted otherwise"
    network = RRDBNet(len(card.bands or ()), len(card.bands or ()), **card.network.model_dump())
    needed = needed_margins(card, engine)
    per_block = [_weights(one) for block in network.body for one in block.children()]
    sides = [core_px + 2 * margin for margin in needed]
    blocks = sum(count * side**2 for count, side in zip(per_block, sides[:-1], strict=True))
    last = _weights(network.conv_body) + _weights(network.conv_last)
    return _weights(network.conv_first) * (core_px + 2 * card.halo_px) ** 2 + blocks + last * sides[-1] ** 2


def _weights(module: nn.Module) -> int:
    from torch import nn

    return sum(one.weight.numel() for one in module.modules() if isinstance(one, nn.Conv2d))
