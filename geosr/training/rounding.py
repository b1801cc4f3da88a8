"""Features that bear to be kept in bfloat16: a stage that costs the image little.

A network is free to make a small residual of the difference of large features, and 8 bits of those are then few.
Nothing in the image's own loss asks for it to be otherwise: the error of rounding is a hundredth of the image's. So
this stage goes on from an image that is there and holds it as near as it can, which is far quicker learned than the
image, for it has no noise; and some patches are made a second time with errors like those of rounding, if larger,
wherever a feature is kept, and how far that moves them is added to the loss.
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

#: Keep slopes finite where nothing moves, units of reference reflectance.
_FLOOR = 1e-3
_LEAST_MOVE = 1e-4


@dataclass(frozen=True)
class Rounding:
    """How much training cares for what bfloat16 does."""

    weight: float = 2.0
    """Of how far rounding moves the image, beside how far the image is from what it was."""
    amplitude: float = 8.0
    """How many times larger than bfloat16's the errors are: above those of the training's own precision."""


def strayed(sr: Tensor, held: Tensor, hr: Tensor, gain: Tensor) -> Tensor:
    """What it adds to the root mean square error of each patch's band to be off what it is held at, and that error.

    It is the loss ``rms`` without what chance there is between an error that was there and one that is new.
    """
    new, old = (((one - other) / gain).square().mean(dim=(-2, -1)) for one, other in ((sr, held), (held, hr)))
    return (new + old + _FLOOR**2).sqrt().mean()


def penalty(model: Generator, lr: Tensor, sr: Tensor, rounding: Rounding, seed: int) -> Tensor:
    """How far rounding moves ``sr``, which the model made of ``lr``, weighted; the farthest pixels count most."""
    assert model.network is not None
    some = slice(0, -(-len(lr) // _ONE_IN))
    with amplified(model.network, rounding.amplitude, seed):
        moved = model(lr[some]) - sr[some]
    norm: Tensor = (moved.pow(4).mean() + _LEAST_MOVE**4) ** 0.25
    return rounding.weight * norm


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
