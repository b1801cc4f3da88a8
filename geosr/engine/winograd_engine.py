"""The engine for CPUs in float32: the network by Winograd's convolutions, what comes after it by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from geosr.engine import EngineSpec, Parallel
from geosr.engine.memory import Memory
from geosr.engine.openvino_engine import OpenVinoEngine, Step
from geosr.engine.winograd import Base, Convolution, Convolver, Planes, Region
from geosr.engine.winograd_code import compiled
from geosr.model.card import ModelCard, NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.margins import margins
from geosr.model.weights import misfit

_LEAK = 0.2


class WinogradEngine(OpenVinoEngine):
    """Runs a generator in float32."""

    def __init__(
        self, card: ModelCard, mtf_nyquist: Sequence[float | None], spec: EngineSpec, parallel: Parallel
    ) -> None:
        """As :class:`OpenVinoEngine`, for a card with a network."""
        super().__init__(card, mtf_nyquist, spec, parallel)
        assert card.network is not None, "without a network there is nothing to convolve"
        self._size = card.network
        try:
            self._layers = _layers(self._weights, self._size)
        except (KeyError, ValueError) as error:
            raise misfit(card, error) from error

    def _steps(self, shape: tuple[int, ...], memory: Memory, *, doubts: bool) -> list[Step]:
        try:
            graphs = self._graphs(shape, doubts=doubts).after_network()
        except (KeyError, RuntimeError) as error:
            raise misfit(self._card, error) from error
        network = Network(self._layers, self._size, shape[2:], self._card.halo_px, self._threads, memory, doubts=doubts)
        return [network, *(self._compile(graph, "float32") for graph in graphs)]


class Network:
    """A network for chunks of one shape."""

    def __init__(
        self,
        layers: Mapping[str, Convolution],
        size: NetworkSize,
        shape: tuple[int, ...],
        halo_px: int,
        threads: int,
        memory: Memory,
        *,
        doubts: bool = False,
    ) -> None:
        """``shape`` is that of a chunk with its halo, rows and columns. What is made lies in ``memory`` as well."""
        rows, cols = shape
        self._layers, self._size, self._halo_px, self._memory = layers, size, halo_px, memory
        self._ends = ["deep"] if size.tail == "interpolate" else ["residual"] + ["deep"] * doubts
        code = compiled()
        self._planes = Planes(rows, cols, code.lanes)
        self._convolver = Convolver(self._planes, code, threads, list(layers.values()), memory)
        self._needed = margins(size.blocks, halo_px)
        last = layers["conv_last"].outputs if "residual" in self._ends else 0
        self._given = self._room("given", layers["conv_first"].inputs)
        self._maps = [self._room(f"maps {number}", layers["conv_first"].outputs) for number in range(3)]
        # A layer may make a few planes more than asked for, all zero.
        self._grown = self._room("grown", max(4 * size.growth + code.outputs, last))

    def __call__(self, known: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """From ``lr`` to what the network makes of it: ``residual`` and ``deep``, with what they keep of the margin."""
        features, run, region = self._size.features, self._convolver.run, self._planes.whole
        first, body = self._layers["conv_first"], self._layers["conv_body"]
        deep, one, other = self._maps
        self._planes.put(known["lr"][0], self._given)
        given = self._given[: first.inputs]
        run(first, region, [given], deep)
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
        run(first, region, [given], other, bases=[Base(one, 1.0)])
        made = {}
        if "deep" in self._ends:
            made["deep"] = self._out("deep", other, region, features)
        if "residual" in self._ends:
            last = self._layers["conv_last"]
            run(last, region, [other[:features]], self._grown)
            made["residual"] = self._out("residual", self._grown, region, last.made)
        return made

    def _dense(
        self, name: str, region: Region, image: NDArray[np.float32], target: NDArray[np.float32], bases: Sequence[Base]
    ) -> None:
        """A dense block of ``image``."""
        growth = self._size.growth
        for number in range(4):
            inputs = [image, self._grown[: number * growth]]
            layer = self._layers[f"{name}.conv{number + 1}"]
            self._convolver.run(layer, region, inputs, self._grown[number * growth :], slope=_LEAK)
        inputs = [image, self._grown[: 4 * growth]]
        self._convolver.run(self._layers[f"{name}.conv5"], region, inputs, target, bases=bases)

    def _narrowed(self, region: Region, margin: int) -> Region:
        """A region with a smaller margin, around which everything is zero; the same where it is not smaller."""
        inner = self._planes.whole.inside(self._halo_px - margin)
        if inner != region:
            for planes in (self._grown, *self._maps):
                self._planes.clear_around(planes, inner)
        return inner

    def _out(self, name: str, planes: NDArray[np.float32], region: Region, count: int) -> NDArray[np.float32]:
        """``(1, count, rows, cols)`` with the margin that is left after the network."""
        less = 2 * (self._halo_px - self._needed[-1])
        shape = (1, count, self._planes.whole.rows - less, self._planes.whole.cols - less)
        image = self._memory.take(name, shape)
        self._convolver.take(planes, region, image[0])
        return image

    def _room(self, name: str, count: int) -> NDArray[np.float32]:
        return self._memory.take(name, self._planes.shape(count), zero=True)


def _layers(weights: Mapping[str, NDArray[np.float32]], size: NetworkSize) -> dict[str, Convolution]:
    """The layers up to the features, and that after them where it works at low resolution, by name."""
    dense = [f"rdb{block}.conv{layer}" for block in (1, 2, 3) for layer in (1, 2, 3, 4, 5)]
    names = ["conv_first", *(f"body.{block}.{layer}" for block in range(size.blocks) for layer in dense), "conv_body"]
    if size.tail == "shuffle":
        names.append("conv_last")
    outputs = compiled().outputs
    return {name: Convolution(weights[f"{name}.weight"], weights[f"{name}.bias"], outputs) for name in names}
