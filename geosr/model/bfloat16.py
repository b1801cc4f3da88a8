"""Means to keep bfloat16 near float32: features as two numbers, and weights that are rounded together.

A bfloat16 has eight binary digits. The rounded number and what rounding took from it, as two, have sixteen; and a
convolution of features that are so split is one over more channels, for it only sums products. Most of the error that
bfloat16 makes of features comes from a part of their channels, so only that part is split.

Weights cost nothing more: each becomes one of the two numbers of bfloat16 that it lies between, not always the nearer
one, such that a layer's sums of all of them are off by least.

Which channels and which of the two numbers is found by :mod:`geosr.release.bfloat16_rounding`, and stands in a model's
card and in a file beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: In a float32's bits, one step from a number of bfloat16 to the next.
_STEP = 1 << 16


def nearest(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers that bfloat16 has, ties to even; of finite ones."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> 16) & 1
    rounded: NDArray[np.float32] = ((bits + (_STEP // 2 - 1) + odd) & np.uint32(-_STEP & 0xFFFFFFFF)).view(np.float32)
    return rounded


def other(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The number of bfloat16 beyond each value as seen from the nearest; of one that bfloat16 has, itself."""
    near = nearest(values)
    away = np.where(np.abs(values) > np.abs(near), _STEP, -_STEP)
    beyond: NDArray[np.float32] = (near.view(np.int32) + away.astype(np.int32)).view(np.float32)
    return np.where(values == near, near, beyond)


@dataclass(frozen=True)
class Channels:
    """The order in which a tensor has its channels: first those that are split."""

    order: NDArray[np.intp]
    split: int
    """Number of them."""

    def widened(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights ``(out, in, rows, cols)`` for the channels in that order, and for what the first of them lose."""
        weight = weight[:, self.order]
        return np.concatenate([weight, weight[:, : self.split]], axis=1)


@dataclass(frozen=True)
class Rounded:
    """A network's dense blocks for bfloat16."""

    weights: Mapping[str, NDArray[np.float32]]
    """By name: of numbers that bfloat16 has, and biases, which are not rounded. The last layer's are times what a block
    multiplies its result by."""
    channels: Sequence[Sequence[Channels]]
    """Channels of each block's parts, see :func:`channels_of`."""


def channels_of(blocks: Sequence[str], features: int, growth: int) -> list[list[Channels]]:
    """Per dense block, from its text in a card: the channels of its input, and of what each of four layers makes.

    The input's channels, which all blocks share, have the same order in each; a block that splits one splits all
    before it.
    """
    marked = [np.frombuffer(text.encode(), np.uint8) == ord("1") for text in blocks]
    common = _first(np.sum([one[:features] for one in marked], axis=0))
    found = []
    for one in marked:
        given, *made = np.split(one, [features + growth * number for number in range(4)])
        last = int(np.flatnonzero(given[common]).max(initial=-1))
        found.append([Channels(common, last + 1), *(Channels(_first(part), int(part.sum())) for part in made)])
    return found


def _first(counts: NDArray[np.generic]) -> NDArray[np.intp]:
    """The order in which the largest come first."""
    return np.argsort(-counts.astype(np.int64), kind="stable")
