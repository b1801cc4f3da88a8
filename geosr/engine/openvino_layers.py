"""The network's layers as nodes of OpenVINO's graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.engine.openvino_import import op
from geosr.model.card import NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.layer_margins import margins

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_LEAK = 0.2


class Layers:
    """The network's layers, by the names of their weights."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def conv(self, image: Any, name: str, *, leaky: bool = False) -> Any:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        pad = weight.shape[2] // 2
        out = op.add(convolve(image, weight, (pad, pad)), op.constant(bias.reshape(1, -1, 1, 1)))
        return self._leaky(out) if leaky else out

    def dense(self, image: Any, name: str) -> Any:
        parts = [image]
        for number in (1, 2, 3, 4):
            parts.append(self.conv(_joined(parts), f"{name}.conv{number}", leaky=True))
        return _add_residual(image, self.conv(_joined(parts), f"{name}.conv5"))

    def trunk(self, shallow: Any, size: NetworkSize, halo_px: int) -> Any:
        """Run the blocks on ``shallow`` features, and keep what is needed of their margin, ``halo_px``."""
        needed = margins(size.blocks, halo_px)
        deep, now = shallow, halo_px
        for block in range(size.blocks):
            first, second, last = needed[3 * block : 3 * block + 3]
            deep = inside(deep, now - first)
            inner = self.dense(deep, f"body.{block}.rdb1")
            inner = self.dense(inside(inner, first - second), f"body.{block}.rdb2")
            inner = self.dense(inside(inner, second - last), f"body.{block}.rdb3")
            deep, now = _add_residual(inside(deep, first - last), inner), last
        return inside(deep, now - needed[-1])

    def to_polyphase(self, deep: Any, size: NetworkSize, scale: int) -> Any:
        if size.tail == "shuffle":
            return self.conv(deep, "conv_last")
        for name in ("conv_up1", "conv_up2"):
            deep = self.doubled(deep, name)
        image = self.conv(self.conv(deep, "conv_hr", leaky=True), "conv_last")
        return op.space_to_depth(image, "depth_first", scale)

    def doubled(self, image: Any, name: str) -> Any:
        """A layer that reads each pixel twice along each axis.

        Of three neighbours two are then the same pixel, so each phase of what it makes follows from 2 × 2 pixels: less
        than half of the work, and the larger image is never there.
        """
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        polyphase = []
        for i in (0, 1):
            for j in (0, 1):
                near = _of_doubled(_of_doubled(weight, 2, i), 3, j)
                made = op.convolution(image, op.constant(near), [1, 1], [1 - i, 1 - j], [i, j], [1, 1])
                polyphase.append(self._leaky(op.add(made, op.constant(bias.reshape(1, -1, 1, 1)))))
        return op.depth_to_space(op.concat(polyphase, 1), "blocks_first", 2)

    def _leaky(self, image: Any) -> Any:
        return op.prelu(image, op.constant(np.array([_LEAK], np.float32)))


def inside(image: Any, inset: int) -> Any:
    """An image without ``inset`` pixels on each side, or with more of them, where its edge repeats."""
    if inset == 0:
        return image
    if inset < 0:
        pads = op.constant(np.array([0, 0, -inset, -inset], np.int64))
        return op.pad(image, pads, pads, "edge")
    start, stop, step, axes = (
        op.constant(np.array(values, np.int64)) for values in ([inset, inset], [-inset, -inset], [1, 1], [2, 3])
    )
    return op.slice(image, start, stop, step, axes)


def _add_residual(image: Any, residual: Any) -> Any:
    return op.add(image, op.multiply(residual, op.constant(np.float32(RESIDUAL_SCALE))))


def _joined(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else op.concat(list(parts), 1)


def _of_doubled(weight: NDArray[np.float32], axis: int, phase: int) -> NDArray[np.float32]:
    """Two taps on pixels that are equal to three taps along an axis that has each pixel twice."""
    first, middle, last = np.moveaxis(weight, axis, 0)
    taps = (first + middle, last) if phase else (first, middle + last)
    return np.ascontiguousarray(np.stack(taps, axis))


def convolve(image: Any, weights: NDArray[np.float32], pad: tuple[int, int]) -> Any:
    """A convolution with ``(out, in, rows, cols)``, without its bias."""
    return op.convolution(image, op.constant(np.ascontiguousarray(weights)), [1, 1], list(pad), list(pad), [1, 1])
