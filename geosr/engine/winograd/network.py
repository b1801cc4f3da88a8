"""An RRDB network on channels, see :mod:`geosr.model.rrdb`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.engine.buffers import BufferPool
from geosr.engine.winograd.dispatch import AddedBase, Convolution, Runner
from geosr.engine.winograd.layout import AROUND_PX, PolyphaseLayout, Region
from geosr.model.card import NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.layer_margins import margins

_LEAK = 0.2


@dataclass(frozen=True)
class NetworkOutput:
    """Output of a network, in channels that its next run overwrites."""

    region: Region
    lr: NDArray[np.float32]
    """Input of the network; it may be overwritten, as the others may."""
    deep: NDArray[np.float32]
    """Features."""
    residual: NDArray[np.float32] | None
    """Phases; None of a network whose tail is at high resolution."""
    free: NDArray[np.float32]
    """Channels to work in, with whatever is there."""


def read_layers(weights: Mapping[str, NDArray[np.float32]], size: NetworkSize, outputs: int) -> dict[str, Convolution]:
    """The layers up to the features, and that after them where it works at low resolution, by name.

    ``outputs`` channels are made together.
    """
    dense = [f"rdb{block}.conv{layer}" for block in (1, 2, 3) for layer in (1, 2, 3, 4, 5)]
    names = ["conv_first", *(f"body.{block}.{layer}" for block in range(size.blocks) for layer in dense), "conv_body"]
    if size.tail == "shuffle":
        names.append("conv_last")
    return {name: Convolution(weights[f"{name}.weight"], weights[f"{name}.bias"], outputs) for name in names}


class WinogradNetwork:
    """A network for chunks of one shape."""

    def __init__(
        self,
        layout: PolyphaseLayout,
        runner: Runner,
        layers: Mapping[str, Convolution],
        size: NetworkSize,
        halo_px: int,
        memory: BufferPool,
        spare: int = 0,
        limits: Sequence[float] = (),
    ) -> None:
        """``halo_px`` is the margin of the chunks, the ``layout`` is for all of them.

        ``limits`` are those of :attr:`geosr.model.card.ModelCard.input_limits`.

        When it has run, at least ``spare`` channels are free until it runs again.
        """
        self._layout, self._runner, self._layers = layout, runner, layers
        self._size = size
        self._limits = np.asarray(limits, np.float32).reshape(-1, 1, 1)
        #: Of what the blocks and the last layers work on.
        self._regions = [layout.whole.inside(halo_px - needed) for needed in margins(size.blocks, halo_px)]
        #: Whether those who work in what is free leave something around the image, where zeros are to be.
        self._left_over = self._regions[-1].margin < AROUND_PX

        def clear(scratch: NDArray[np.float32]) -> None:
            for region in {layout.whole, *self._regions}:
                layout.clear_below(scratch, region)

        def scratch(name: str, count: int) -> NDArray[np.float32]:
            return memory.scratch(name, layout.scratch_shape(count), clear)

        first, last = layers["conv_first"], layers.get("conv_last")
        # Beside an image that is put into channels nobody writes zeros.
        given = memory.scratch("given", layout.scratch_shape(first.inputs), lambda used: used.fill(0))
        self._given = layout.aligned(given, layout.whole)
        counts = (first.outputs, max(first.outputs, spare), first.outputs)
        self._maps = [scratch(f"maps {number}", count) for number, count in enumerate(counts)]
        # A layer may make a few channels more than asked for, all zero.
        grown = 3 * size.growth + layers["body.0.rdb1.conv1"].outputs
        self._grown = scratch("grown", max(grown, 0 if last is None else last.outputs))

    def __call__(self, lr: NDArray[np.float32]) -> NetworkOutput:
        """``lr`` is ``(bands, rows, cols)``; layers read each band up to its limit."""
        exceeds = self._limits.size > 0 and bool((lr.max(axis=(1, 2), keepdims=True) > self._limits).any())
        features, run = self._size.features, self._runner.run
        first, body, last = self._layers["conv_first"], self._layers["conv_body"], self._layers.get("conv_last")
        aligned, regions = self._layout.aligned, self._regions
        deep_scratch, one_scratch, other_scratch = self._maps
        if self._left_over:
            one_scratch.fill(0)
        self._layout.put(np.minimum(lr, self._limits) if exceeds else lr, self._given)
        # What blocks add to stays where it is. The others are aligned in the region of those who read them.
        deep = aligned(deep_scratch, regions[0])
        run(first, self._layout.whole, [self._given], deep)
        cleared = None
        for block in range(self._size.blocks):
            begin, then, end = regions[3 * block : 3 * block + 3]
            one, other = aligned(one_scratch, then), aligned(other_scratch, end)
            steps = [
                (begin, deep, one, [AddedBase(deep, RESIDUAL_SCALE)]),
                (then, one, other, [AddedBase(one, RESIDUAL_SCALE)]),
                (end, other, deep, [AddedBase(other, RESIDUAL_SCALE), AddedBase(deep, RESIDUAL_SCALE)]),
            ]
            for number, (region, image, target, bases) in enumerate(steps, 1):
                grown = aligned(self._grown, region)
                # Nothing is written around what grows in a region.
                self._clear_around(region, image, *(() if region == cleared else (grown,)))
                cleared = region
                self._dense(f"body.{block}.rdb{number}", region, image[:features], grown, target, bases)
        region = regions[-1]
        free, kept, residual = (aligned(scratch, region) for scratch in (one_scratch, other_scratch, self._grown))
        self._clear_around(region, deep)
        run(body, region, [deep[:features]], free)
        # Its first features are made anew: to keep them would take memory all along.
        run(first, region, [self._given], kept, bases=[AddedBase(free, 1.0)])
        if exceeds:
            self._layout.put(lr, self._given)
        if last is None:
            return NetworkOutput(region, self._given, kept[:features], None, free)
        self._clear_around(region, kept)
        run(last, region, [kept[:features]], residual)
        return NetworkOutput(region, self._given, kept[:features], residual[: last.made], free)

    def _dense(
        self,
        name: str,
        region: Region,
        image: NDArray[np.float32],
        grown: NDArray[np.float32],
        target: NDArray[np.float32],
        bases: Sequence[AddedBase],
    ) -> None:
        """A dense block of ``image``, with channels for what grows in it."""
        growth, run = self._size.growth, self._runner.run
        for number in range(4):
            layer = self._layers[f"{name}.conv{number + 1}"]
            run(layer, region, [image, grown[: number * growth]], grown[number * growth :], slope=_LEAK)
        run(self._layers[f"{name}.conv5"], region, [image, grown[: 4 * growth]], target, bases=bases)

    def _clear_around(self, region: Region, *images: NDArray[np.float32]) -> None:
        """Layers see zeros around a region, whatever is there of a larger one."""
        for image in images:

            def clear(_: object, first: int, stop: int, image: NDArray[np.float32] = image) -> None:
                self._layout.clear_around(image[first:stop], region)

            self._runner.share(len(image), clear)
