"""An RRDB network on planes, see :mod:`geosr.model.rrdb`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.engine.memory import Memory
from geosr.engine.winograd.planes import AROUND_PX, Planes, Region
from geosr.engine.winograd.run import Base, Convolution, Runner
from geosr.model.card import NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.margins import margins

_LEAK = 0.2


@dataclass(frozen=True)
class Made:
    """What a network has made, in planes that it makes the next of."""

    region: Region
    lr: NDArray[np.float32]
    """What it was given; of this as well as of the others nothing is needed any more."""
    deep: NDArray[np.float32]
    """Features."""
    residual: NDArray[np.float32] | None
    """Phases; None of a network whose tail is at high resolution."""
    free: NDArray[np.float32]
    """Planes to work in, with whatever is there."""


def read_layers(weights: Mapping[str, NDArray[np.float32]], size: NetworkSize, outputs: int) -> dict[str, Convolution]:
    """The layers up to the features, and that after them where it works at low resolution, by name.

    ``outputs`` planes are made together.
    """
    dense = [f"rdb{block}.conv{layer}" for block in (1, 2, 3) for layer in (1, 2, 3, 4, 5)]
    names = ["conv_first", *(f"body.{block}.{layer}" for block in range(size.blocks) for layer in dense), "conv_body"]
    if size.tail == "shuffle":
        names.append("conv_last")
    return {name: Convolution(weights[f"{name}.weight"], weights[f"{name}.bias"], outputs) for name in names}


class Network:
    """A network for chunks of one shape."""

    def __init__(
        self,
        planes: Planes,
        runner: Runner,
        layers: Mapping[str, Convolution],
        size: NetworkSize,
        halo_px: int,
        memory: Memory,
        spare: int = 0,
    ) -> None:
        """``halo_px`` is the margin of the chunks, the ``planes`` are for all of them.

        When it has run, at least ``spare`` planes are free until it runs again.
        """
        self._planes, self._runner, self._layers = planes, runner, layers
        self._size, self._halo_px = size, halo_px
        self._needed = margins(size.blocks, halo_px)
        #: Whether those who work in what is free leave something around the image, where zeros are to be.
        self._left_over = planes.whole.inside(halo_px - self._needed[-1]).margin < AROUND_PX

        def room(name: str, count: int) -> NDArray[np.float32]:
            return memory.take(name, planes.shape(count), zero=True)[:count]

        first, last = layers["conv_first"], layers.get("conv_last")
        self._given = room("given", first.inputs)
        counts = (first.outputs, max(first.outputs, spare), first.outputs)
        self._maps = [room(f"maps {number}", count) for number, count in enumerate(counts)]
        # A layer may make a few planes more than asked for, all zero.
        grown = 3 * size.growth + layers["body.0.rdb1.conv1"].outputs
        self._grown = room("grown", max(grown, 0 if last is None else last.outputs))

    def __call__(self, lr: NDArray[np.float32]) -> Made:
        """``lr`` is ``(bands, rows, cols)``."""
        features, run, region = self._size.features, self._runner.run, self._planes.whole
        first, body, last = self._layers["conv_first"], self._layers["conv_body"], self._layers.get("conv_last")
        deep, one, other = self._maps
        if self._left_over:
            one.fill(0)
        self._planes.put(lr, self._given)
        run(first, region, [self._given], deep)
        for block in range(self._size.blocks):
            steps = [
                (deep, one, [Base(deep, RESIDUAL_SCALE)]),
                (one, other, [Base(one, RESIDUAL_SCALE)]),
                (other, deep, [Base(other, RESIDUAL_SCALE), Base(deep, RESIDUAL_SCALE)]),
            ]
            for number, (image, target, bases) in enumerate(steps):
                region = self._narrowed(region, self._needed[3 * block + number])
                self._dense(f"body.{block}.rdb{number + 1}", region, image[:features], target, bases)
        region = self._narrowed(region, self._needed[-1])
        run(body, region, [deep[:features]], one)
        # Its first features are made anew: to keep them would take memory all along.
        run(first, region, [self._given], other, bases=[Base(one, 1.0)])
        if last is None:
            return Made(region, self._given, other[:features], None, one)
        run(last, region, [other[:features]], self._grown)
        return Made(region, self._given, other[:features], self._grown[: last.made], one)

    def _dense(
        self, name: str, region: Region, image: NDArray[np.float32], target: NDArray[np.float32], bases: Sequence[Base]
    ) -> None:
        """A dense block of ``image``."""
        growth, run = self._size.growth, self._runner.run
        for number in range(4):
            inputs = [image, self._grown[: number * growth]]
            layer = self._layers[f"{name}.conv{number + 1}"]
            run(layer, region, inputs, self._grown[number * growth :], slope=_LEAK)
        run(self._layers[f"{name}.conv5"], region, [image, self._grown[: 4 * growth]], target, bases=bases)

    def _narrowed(self, region: Region, margin: int) -> Region:
        """A region with a smaller margin, around which everything is zero; the same where it is not smaller."""
        inner = self._planes.whole.inside(self._halo_px - margin)
        if inner != region:
            for planes in (self._grown, *self._maps):

                def clear(_: object, first: int, stop: int, planes: NDArray[np.float32] = planes) -> None:
                    self._planes.clear_around(planes[first:stop], inner)

                self._runner.share(len(planes), clear)
        return inner
