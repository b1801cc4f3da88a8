"""The generator as OpenVINO's graphs, made of a card's weights without PyTorch.

In float32 it is one graph: what is only handed on inside it is never laid out anew. The network's blocks are a graph of
their own where they run in reduced precision, which nothing else does: the first layer reads reflectance, of which
bfloat16 would keep no more than three digits, and what the last ones make of features is in the image as it is. Images
are held as polyphase channels, see :mod:`geosr.model.kernels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.engine.openvino_bfloat16 import RoundedLayers
from geosr.engine.openvino_import import op, ov
from geosr.engine.openvino_layers import Layers, Weights, convolve, inside
from geosr.model import kernels
from geosr.model.bfloat16 import Rounded
from geosr.model.card import NetworkSize
from geosr.model.kernels import Base
from geosr.model.layer_margins import kept_margin


@dataclass(frozen=True)
class Graphs:
    """A generator's graphs for chunks of one shape.

    Inputs and outputs go by name. Given are ``lr``, the input, and ``valid``, 1 where a pixel was measured and 0 where
    it was filled in. Made are the image's ``polyphase`` channels and what the sensor has ``observed`` of it, both with
    a margin of ``margin_px``; with ``uncertainty`` also the network's features, ``deep``, and its ``residual``.
    """

    shape: tuple[int, ...]
    """Shape of ``lr``: ``(1, bands, rows, cols)``."""
    scale: int
    taps: NDArray[np.float32]
    """The sensor's, see :func:`geosr.model.kernels.gaussian_taps`."""
    base: Base
    steps: int
    noise_limits: tuple[float, ...]
    """See :meth:`geosr.model.card.ModelCard.noise_limits`."""
    input_limits: tuple[float, ...]
    """See :attr:`geosr.model.card.ModelCard.input_limits`."""
    halo_px: int
    """The margin of the inputs."""
    margin_px: int
    uncertainty: bool
    size: NetworkSize | None
    weights: Weights
    """By name, in float32; none without a network."""
    rounded: Rounded | None = None
    """The dense blocks for bfloat16."""

    def all(self, precision: str) -> list[tuple[ov.Model, str]]:
        """The graphs in the order in which they run, and the precision of each."""
        before, follows = self._before(precision)
        return [*before, (self._image(follows), "float32")]

    def network(self, precision: str) -> list[tuple[ov.Model, str]]:
        """Those of the network alone, which end in its ``residual``."""
        before, follows = self._before(precision)
        if "residual" in follows:
            return before
        given = {name: self._given(name) for name in follows or ["lr"]}
        _, residual = self._network(given.get("lr"), given)
        return [*before, (ov.Model([_named(residual, "residual")], list(given.values()), "network"), "float32")]

    def after_network(self) -> list[ov.Model]:
        """Build the graphs that follow a network which another engine has run.

        That is given as its ``residual``, or where its tail is at high resolution as its features, ``deep``.
        """
        image = self._image(["residual"])
        if self.size is None or self.size.tail == "shuffle":
            return [image]
        deep = self._given("deep")
        residual = self._layers.to_polyphase(deep, self.size, self.scale)
        return [ov.Model([_named(residual, "residual")], [deep], "tail"), image]

    def _before(self, precision: str) -> tuple[list[tuple[ov.Model, str]], list[str]]:
        """Build the graphs that run before the image's because of its ``precision``; returns also what they give it."""
        if self.size is None or precision == "float32":
            return [], []
        lr, shallow = self._given("lr"), self._given("shallow")
        first = ov.Model([_named(self._first(lr), "shallow")], [lr], "first")
        assert self.rounded is not None, "the blocks in bfloat16 are given"
        layers = RoundedLayers(self.weights, self.rounded)
        trunk = layers.trunk(shallow, self.size, self.halo_px)
        if self.size.tail == "shuffle":
            ends, follows = {"trunk": trunk}, ["shallow", "trunk"]
        else:
            # A tail at high resolution belongs to the body, for most of the work is there.
            deep = op.add(self._near(shallow), layers.conv(trunk, "conv_body"))
            ends, follows = {"residual": layers.to_polyphase(deep, self.size, self.scale)}, ["residual"]
            if self.uncertainty:
                ends["deep"] = deep
        results = [_named(node, name) for name, node in ends.items()]
        return [(first, "float32"), (ov.Model(results, [shallow], "blocks"), precision)], follows

    def _image(self, follows: Sequence[str]) -> ov.Model:
        """Build the graph of the image, which takes what it ``follows`` from the graphs before it."""
        lr, valid = self._given("lr"), self._given("valid")
        given = {name: self._given(name) for name in follows}
        ends, residual = {}, given.get("residual")
        if self.size is not None and residual is None:
            deep, residual = self._network(lr, given)
            if self.uncertainty:
                ends = {"deep": deep, "residual": residual}
        ends["polyphase"], ends["observed"] = self._constrained(lr, residual, valid)
        results = [_named(node, name) for name, node in ends.items()]
        return ov.Model(results, [lr, valid, *given.values()], "image")

    def _network(self, lr: Any, given: Mapping[str, Any]) -> tuple[Any, Any]:
        """Features of the network, and polyphase channels of its residual; what is ``given`` is not computed."""
        assert self.size is not None
        shallow = given["shallow"] if "shallow" in given else self._first(lr)
        trunk = given["trunk"] if "trunk" in given else self._layers.trunk(shallow, self.size, self.halo_px)
        deep = op.add(self._near(shallow), self._layers.conv(trunk, "conv_body"))
        return deep, self._layers.to_polyphase(deep, self.size, self.scale)

    def _first(self, lr: Any) -> Any:
        """The first layer's features, of an input within its limits."""
        if self.input_limits:
            lr = op.minimum(lr, op.constant(_per_band(self.input_limits)))
        return self._layers.conv(lr, "conv_first")

    def _constrained(self, lr: Any, residual: Any | None, valid: Any) -> tuple[Any, Any]:
        """Interpolation, the residual, back-projection: as :meth:`geosr.model.generator.Generator.constrain`."""
        taps, scale, base = self.taps, self.scale, self.base
        lr, valid = self._near(lr), self._near(valid)
        source = lr
        if self.noise_limits:
            cut = [len(taps) * scale**2, len(taps)]
            residual, estimate = op.variadic_split(
                residual, op.constant(np.int64(1)), op.constant(np.array(cut))
            ).outputs()
            source = op.subtract(
                lr, _fine_noise(estimate, self.noise_limits, valid, kernels.upsample_observe(taps, scale))
            )
        left = source
        # The sensor is linear: what it sees of the interpolation follows from the source.
        if base != "none":
            left = op.subtract(left, _separable(lr, kernels.upsample_observe(taps, scale, base)))
        if residual is not None:
            left = op.subtract(left, _observe(residual, taps, scale))
        pull = None
        for _ in range(self.steps):
            step = op.multiply(left, valid)
            pull = step if pull is None else op.add(pull, step)
            left = op.subtract(left, _separable(step, kernels.upsample_observe(taps, scale)))
        inset = self._near_px - self.margin_px
        parts = [] if residual is None else [inside(residual, inset)]
        if base == "bicubic" and pull is not None:
            parts.append(_interpolated(op.add(lr, pull), "bicubic", scale, inset))
        else:
            parts += [] if base == "none" else [_interpolated(lr, base, scale, inset)]
            parts += [] if pull is None else [_interpolated(pull, "bicubic", scale, inset)]
        polyphase = parts[0]
        for part in parts[1:]:
            polyphase = op.add(polyphase, part)
        return polyphase, inside(op.subtract(source, left), inset)

    @property
    def _layers(self) -> Layers:
        return Layers(self.weights)

    @property
    def _near_px(self) -> int:
        """The margin of what the network makes."""
        return self.halo_px if self.size is None else kept_margin(self.halo_px)

    def _near(self, image: Any) -> Any:
        return inside(image, self.halo_px - self._near_px)

    def _given(self, name: str) -> Any:
        """An input: the bands, or what a graph before has made."""
        if name in ("lr", "valid"):
            return op.parameter(list(self.shape), np.float32, name=name)
        assert self.size is not None
        _, bands, rows, cols = self.shape
        given_up = 0 if name == "shallow" else 2 * (self.halo_px - self._near_px)
        polyphase = bands * (self.scale**2 + (1 if self.noise_limits else 0))
        channels = polyphase if name == "residual" else self.size.features
        return op.parameter([1, channels, rows - given_up, cols - given_up], np.float32, name=name)


def _named(node: Any, name: str) -> Any:
    """A graph's output."""
    result = op.result(node)
    result.output(0).get_tensor().set_names({name})
    return result


def _interpolated(lr: Any, base: Base, scale: int, inset: int) -> Any:
    """Polyphase channels of an interpolation without ``inset`` pixels on each side."""
    kernel = kernels.interpolation(base, scale)
    bands = lr.get_output_shape(0)[1]
    weights = np.broadcast_to(kernel[None, :, None], (bands, len(kernel), 1, *kernel.shape[1:]))
    return _convolve_groups(inside(lr, inset - kernel.shape[1] // 2), weights, (0, 0))


def _fine_noise(estimate: Any, limits: Sequence[float], valid: Any, taps: NDArray[np.float32]) -> Any:
    """Noise as :meth:`geosr.model.generator.Generator.constrain` takes it from the network's estimate."""
    softened = op.divide(estimate, op.add(op.absolute(estimate), op.constant(np.float32(1))))
    noise = op.multiply(op.multiply(softened, op.constant(_per_band(limits))), valid)
    coarse = noise
    for _ in range(kernels.COARSE_STEPS):
        coarse = _separable(coarse, taps)
    return op.subtract(noise, coarse)


def _per_band(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _observe(polyphase: Any, taps: NDArray[np.float32], scale: int) -> Any:
    """Observe polyphase channels: along the rows of each block, then across them.

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
    return convolve(convolve(inside(polyphase, -reach), along, (0, 0)), across, (0, 0))


def _separable(lr: Any, taps: NDArray[np.float32]) -> Any:
    """Filter each band along both axes, beyond whose ends the edge repeats; ``taps`` is ``(bands, taps)``."""
    lr = inside(lr, -(taps.shape[1] // 2))
    lr = _convolve_groups(lr, taps[:, None, None, None, :], (0, 0))
    return _convolve_groups(lr, taps[:, None, None, :, None], (0, 0))


def _convolve_groups(image: Any, weights: NDArray[np.float32], pad: tuple[int, int]) -> Any:
    """``weights`` is ``(groups, out, in, rows, cols)``."""
    kernel = op.constant(np.ascontiguousarray(weights))
    return op.group_convolution(image, kernel, [1, 1], list(pad), list(pad), [1, 1])
