"""Features that bear to be kept in bfloat16: training pays for what rounding them does to the image.

A network is free to make a small residual of the difference of large features, and 8 bits of those are then few. What
it costs to have it otherwise is little, but nothing in the image's own loss asks for it: the error of rounding is a
hundredth of the image's. So the image is made a second time with errors like those of rounding, if larger, wherever a
feature is kept, and how far that moves it is added to the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet

#: Of a number rounded to 8 bits: the error is even within half of the last bit, which is between 1/128 and 1/256 of the
#: number; the root of the mean of its square over all mantissas, as often small as large, is that of errors even
#: within this share of the number.
_SHARE = 0.7355 / 256

#: One patch in so many is made twice: from patch to patch the error of rounding differs less than the image's.
_ONE_IN = 3

#: Keeps the slope finite where rounding moves nothing, units of reference reflectance.
_FLOOR = 1e-4


@dataclass(frozen=True)
class Rounding:
    """How much training cares for what bfloat16 does."""

    weight: float = 3.0
    """Of the root of the mean square by which the image moves, beside the loss of the image."""
    amplitude: float = 8.0
    """How many times larger than bfloat16's the errors are: above those of the training's own precision."""


def penalty(model: Generator, lr: Tensor, sr: Tensor, gain: Tensor, rounding: Rounding, seed: int) -> Tensor:
    """What is added to the loss of ``sr``, which the model made of ``lr``; ``gain`` is ``(n, 1, 1, 1)``."""
    assert model.network is not None
    some = slice(0, -(-len(lr) // _ONE_IN))
    with amplified(model.network, rounding.amplitude, seed):
        moved = (model(lr[some]) - sr[some]) / gain[some]
    mean: Tensor = (moved.square().mean(dim=(-2, -1)) + _FLOOR**2).sqrt().mean()
    return rounding.weight * mean


@contextmanager
def amplified(network: RRDBNet, amplitude: float, seed: int) -> Iterator[None]:
    """Let all that would be kept in bfloat16 be off by errors ``amplitude`` times as large, as ``seed`` draws them."""
    generator = torch.Generator(next(network.parameters()).device).manual_seed(seed)

    def moved(_module: nn.Module, _given: Any, kept: Tensor) -> Tensor:
        drawn = torch.rand(kept.shape, generator=generator, device=kept.device)
        # The product is small, so that it is exact enough in any precision; one plus it would not be.
        return kept + kept * ((2 * drawn - 1) * (amplitude * _SHARE)).to(kept.dtype)

    hooks = [place.register_forward_hook(moved) for place in network.stores()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def exact_in_bfloat16(network: RRDBNet) -> dict[str, Tensor]:
    """The network's weights, those of what may run in a narrower type rounded to bfloat16: only features are then."""
    narrowed = {id(parameter) for module in network.narrowed() for parameter in module.parameters()}
    return {
        name: (value.bfloat16().to(value.dtype) if id(value) in narrowed else value).detach()
        for name, value in network.named_parameters()
    }
