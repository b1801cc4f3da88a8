"""Dense blocks in bfloat16, with features as two numbers where a card has them split.

OpenVINO is told one precision for all that it may round. What it leaves in float32 is what an output is made of
without a convolution in between; a convolution's own result too, where that is made by an operation that it takes
along. So of whatever is to stay exact, one number is added to what the block makes: times zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.engine.openvino_import import op
from geosr.engine.openvino_layers import Layers, Weights, convolve
from geosr.model.bfloat16 import Channels, Rounded
from geosr.model.card import NetworkSize

#: Multiplied by this, a float32 sheds all but its first eight digits when it is taken off again (Dekker, 1971).
_TO_EIGHT_DIGITS = np.float32(2**16 + 1)

#: Beyond any feature. A layer that ends in a bound takes it along, and hands out its sums unrounded.
_UNBOUNDED = 1e30


class RoundedLayers(Layers):
    """The network's layers for a graph in bfloat16."""

    def __init__(self, weights: Weights, rounded: Rounded) -> None:
        super().__init__(weights)
        self._rounded = rounded.weights
        names = [f"body.{block}.rdb{number}" for block in range(len(rounded.channels) // 3) for number in (1, 2, 3)]
        self._channels = dict(zip(names, rounded.channels, strict=True))
        self._order = rounded.channels[0][0].order
        self._exact: list[Any] = []

    def trunk(self, shallow: Any, size: NetworkSize, halo_px: int) -> Any:
        deep = super().trunk(_chosen(shallow, self._order), size, halo_px)
        return _chosen(deep, np.argsort(self._order))

    def dense(self, image: Any, name: str) -> Any:
        channels, self._exact = self._channels[name], []
        read = self._read(image, channels[0])
        for number in (1, 2, 3, 4):
            made = self._wide(read, channels[:number], f"{name}.conv{number}", channels[number].order)
            read += self._read(self._leaky(made), channels[number])
        residual = self._wide(read, channels, f"{name}.conv5", self._order)
        made = op.add(image, op.clamp(residual, -_UNBOUNDED, _UNBOUNDED))
        if not self._exact:
            return made
        # First, and each in turn: what numbers are taken of is kept until they are.
        return op.add(op.multiply(reduce(op.add, self._exact), op.constant(np.zeros((1, 1, 1, 1), np.float32))), made)

    def _read(self, image: Any, channels: Channels) -> list[Any]:
        """Input of layers from an image whose channels are in that order: see :meth:`Channels.widened`."""
        if not channels.split:
            return [image]
        lost = _lost(_cut(image, [0], [channels.split], [1]))
        self._exact.append(_cut(lost, [0, 0, 0], [1, 1, 1], [1, 2, 3]))
        return [image, lost]

    def _wide(self, read: Sequence[Any], channels: Sequence[Channels], name: str, order: NDArray[np.intp]) -> Any:
        """A layer of what was read, with its own channels in another ``order``."""
        weight, bias = (self._rounded[f"{name}.{what}"][order] for what in ("weight", "bias"))
        parts = np.split(weight, np.cumsum([len(one.order) for one in channels])[:-1], axis=1)
        wide = np.concatenate([one.widened(part) for one, part in zip(channels, parts, strict=True)], axis=1)
        made = convolve(op.concat(list(read), 1) if len(read) > 1 else read[0], wide, (1, 1))
        return op.add(made, op.constant(bias.reshape(1, -1, 1, 1)))


def _lost(image: Any) -> Any:
    """Remainder of numbers after rounding to bfloat16, in float32."""
    far = op.multiply(image, op.constant(_TO_EIGHT_DIGITS))
    return op.subtract(image, op.subtract(far, op.subtract(far, image)))


def _cut(image: Any, start: list[int], stop: list[int], axes: list[int]) -> Any:
    return op.slice(image, *(op.constant(np.array(one, np.int64)) for one in (start, stop, [1] * len(axes), axes)))


def _chosen(image: Any, order: NDArray[np.intp]) -> Any:
    """An image's channels in another order."""
    if (order == np.arange(len(order))).all():
        return image
    return op.gather(image, op.constant(order.astype(np.int64)), op.constant(np.int64(1)))
