"""The generator as OpenVINO's graphs, made of a card's weights without PyTorch.

The network's body is a graph of its own where it runs in reduced precision, which nothing else does: its first layer
reads reflectance, of which bfloat16 would keep no more than three digits. Images are held as phases, see
:mod:`geosr.model.kernels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.engine.quiet_openvino import op, ov
from geosr.model import kernels
from geosr.model.card import NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE, Base

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_LEAK = 0.2


def network_graph(weights: Weights, size: NetworkSize, shape: Sequence[int], scale: int) -> ov.Model:
    """The network of :mod:`geosr.model.rrdb`: from the input, ``shape``, to the residual's phases and the features.

    ``weights`` are by name, in float32; ``shape`` is ``(1, bands, rows, cols)``.
    """
    layers = _Layers(weights)
    lr = op.parameter(list(shape), np.float32, name="lr")
    shallow = layers.conv(lr, "conv_first")
    deep = op.add(shallow, layers.body(shallow, size))
    return ov.Model([layers.to_phases(deep, size, scale), deep], [lr], "network")


def first_graph(weights: Weights, shape: Sequence[int]) -> ov.Model:
    """The network's first layer: from ``lr`` to ``shallow`` features."""
    lr = op.parameter(list(shape), np.float32, name="lr")
    return ov.Model([_Layers(weights).conv(lr, "conv_first")], [lr], "first")


def body_graph(weights: Weights, size: NetworkSize, shape: Sequence[int], scale: int) -> ov.Model:
    """All between the first and the last layer: from ``shallow`` to ``body``, what it adds to those features.

    A tail at high resolution belongs to it, for most of its work is there: the graph then ends in the phases.
    """
    layers = _Layers(weights)
    shallow = op.parameter([1, size.features, *shape[2:]], np.float32, name="shallow")
    body = layers.body(shallow, size)
    if size.tail == "interpolate":
        deep = op.add(shallow, body)
        return ov.Model([layers.to_phases(deep, size, scale), deep], [shallow], "body")
    return ov.Model([body], [shallow], "body")


def last_graph(weights: Weights, size: NetworkSize, shape: Sequence[int], scale: int) -> ov.Model:
    """The last layer of a network without a tail at high resolution: from ``shallow`` and ``body`` to phases."""
    shallow, body = (
        op.parameter([1, size.features, *shape[2:]], np.float32, name=name) for name in ("shallow", "body")
    )
    deep = op.add(shallow, body)
    return ov.Model([_Layers(weights).to_phases(deep, size, scale), deep], [shallow, body], "last")


def constrain_graph(
    taps: NDArray[np.float32],
    shape: Sequence[int],
    scale: int,
    *,
    base: Base,
    steps: int,
    halo_px: int,
    network: bool,
    masked: bool,
) -> ov.Model:
    """Interpolation, the residual, back-projection: as :meth:`geosr.model.generator.Generator.constrain`.

    Inputs are ``lr`` of ``shape``, the ``residual``'s phases where there is a ``network``, and where ``masked`` the
    ``valid`` pixels as 1 and 0. Gives the phases of the image and what the sensor sees of it, both without ``halo_px``
    on each side.
    """
    bands = shape[1]
    lr = op.parameter(list(shape), np.float32, name="lr")
    inputs = [lr]
    residual = valid = None
    if network:
        residual = op.parameter([1, bands * scale**2, *shape[2:]], np.float32, name="residual")
        inputs.append(residual)
    if masked:
        valid = op.parameter(list(shape), np.float32, name="valid")
        inputs.append(valid)
    left = lr
    # The sensor is linear: what it sees of the interpolation follows from the source.
    if base != "none":
        left = op.subtract(left, _separable(lr, kernels.round_trip(taps, scale, base)))
    if residual is not None:
        left = op.subtract(left, _observe(residual, taps, scale))
    pull = None
    for _ in range(steps):
        step = left if valid is None else op.multiply(left, valid)
        pull = step if pull is None else op.add(pull, step)
        left = op.subtract(left, _separable(step, kernels.round_trip(taps, scale)))
    inside = _Inside(shape, halo_px)
    parts = [] if residual is None else [inside.of(residual)]
    if base == "bicubic" and pull is not None:
        parts.append(inside.interpolated(op.add(lr, pull), "bicubic", scale))
    else:
        parts += [] if base == "none" else [inside.interpolated(lr, base, scale)]
        parts += [] if pull is None else [inside.interpolated(pull, "bicubic", scale)]
    phases = parts[0]
    for part in parts[1:]:
        phases = op.add(phases, part)
    return ov.Model([phases, inside.of(op.subtract(lr, left))], inputs, "constrain")


class _Layers:
    """The network's layers, by the names of their weights."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def conv(self, image: Any, name: str, *, leaky: bool = False) -> Any:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        pad = weight.shape[2] // 2
        out = op.add(_convolve(image, weight, (pad, pad)), op.constant(bias.reshape(1, -1, 1, 1)))
        return op.prelu(out, op.constant(np.array([_LEAK], np.float32))) if leaky else out

    def dense(self, image: Any, name: str) -> Any:
        parts = [image]
        for number in (1, 2, 3, 4):
            parts.append(self.conv(_joined(parts), f"{name}.conv{number}", leaky=True))
        return _add_residual(image, self.conv(_joined(parts), f"{name}.conv5"))

    def body(self, shallow: Any, size: NetworkSize) -> Any:
        deep = shallow
        for block in range(size.blocks):
            inner = deep
            for number in (1, 2, 3):
                inner = self.dense(inner, f"body.{block}.rdb{number}")
            deep = _add_residual(deep, inner)
        return self.conv(deep, "conv_body")

    def to_phases(self, deep: Any, size: NetworkSize, scale: int) -> Any:
        if size.tail == "shuffle":
            return self.conv(deep, "conv_last")
        for name in ("conv_up1", "conv_up2"):
            deep = self.conv(_doubled(deep), name, leaky=True)
        image = self.conv(self.conv(deep, "conv_hr", leaky=True), "conv_last")
        return op.space_to_depth(image, "depth_first", scale)


class _Inside:
    """The part of an image without its halo."""

    def __init__(self, shape: Sequence[int], halo_px: int) -> None:
        self._bands, self._rows, self._cols = shape[1:]
        self._halo = halo_px

    def of(self, image: Any, margin: int = 0) -> Any:
        """The part, with a margin; beyond the image its edge repeats."""
        inset = self._halo - margin
        if inset < 0:
            pads = op.constant(np.array([0, 0, -inset, -inset], np.int64))
            return op.pad(image, pads, pads, "edge")
        if inset == 0:
            return image
        start, stop, step, axes = (
            op.constant(np.array(values, np.int64))
            for values in ([inset, inset], [self._rows - inset, self._cols - inset], [1, 1], [2, 3])
        )
        return op.slice(image, start, stop, step, axes)

    def interpolated(self, lr: Any, base: Base, scale: int) -> Any:
        """The phases of the part of an image that is interpolated."""
        kernel = kernels.interpolation(base, scale)
        weights = np.broadcast_to(kernel[None, :, None], (self._bands, len(kernel), 1, *kernel.shape[1:]))
        return _convolve_groups(self.of(lr, margin=kernel.shape[1] // 2), weights, (0, 0))


def _observe(phases: Any, taps: NDArray[np.float32], scale: int) -> Any:
    """What the sensor sees of phases: along the rows of each block, then across them.

    One dense convolution for all bands is faster than one for each, although most of its weights are zero.
    """
    bands, reach = len(taps), kernels.BLUR_REACH
    split = taps.reshape(bands, -1, scale)
    along = np.zeros((bands * scale, bands * scale**2, 1, 2 * reach + 1), np.float32)
    across = np.zeros((bands, bands * scale, 2 * reach + 1, 1), np.float32)
    for band in range(bands):
        for i in range(scale):
            across[band, band * scale + i, :, 0] = split[band, :, i]
            for j in range(scale):
                along[band * scale + i, band * scale**2 + i * scale + j, 0] = split[band, :, j]
    return _convolve(_convolve(phases, along, (0, reach)), across, (reach, 0))


def _separable(lr: Any, taps: NDArray[np.float32]) -> Any:
    """Filter each band along both axes; ``taps`` is ``(bands, taps)``."""
    reach = taps.shape[1] // 2
    lr = _convolve_groups(lr, taps[:, None, None, None, :], (0, reach))
    return _convolve_groups(lr, taps[:, None, None, :, None], (reach, 0))


def _add_residual(image: Any, residual: Any) -> Any:
    return op.add(image, op.multiply(residual, op.constant(np.float32(RESIDUAL_SCALE))))


def _joined(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else op.concat(list(parts), 1)


def _doubled(image: Any) -> Any:
    """Each pixel twice along each axis."""
    scales, axes = op.constant(np.array([2, 2], np.float32)), op.constant(np.array([2, 3], np.int64))
    return op.interpolate(image, scales, "nearest", "scales", axes=axes, coordinate_transformation_mode="asymmetric")


def _convolve(image: Any, weights: NDArray[np.float32], pad: tuple[int, int]) -> Any:
    return op.convolution(image, op.constant(np.ascontiguousarray(weights)), [1, 1], list(pad), list(pad), [1, 1])


def _convolve_groups(image: Any, weights: NDArray[np.float32], pad: tuple[int, int]) -> Any:
    """``weights`` is ``(groups, out, in, rows, cols)``."""
    kernel = op.constant(np.ascontiguousarray(weights))
    return op.group_convolution(image, kernel, [1, 1], list(pad), list(pad), [1, 1])
