"""The engine for CPUs in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.engine import EngineSpec, Parallel
from geosr.engine.lanes import Known, LaneEngine, Step
from geosr.engine.memory import Memory
from geosr.engine.winograd.code import compiled
from geosr.engine.winograd.constraint import Constrained, Constraint, planes_for
from geosr.engine.winograd.network import Network, read_layers
from geosr.engine.winograd.planes import Planes, Region
from geosr.engine.winograd.run import Runner
from geosr.model.card import ModelCard
from geosr.model.margins import kept_margin


class WinogradEngine(LaneEngine):
    """Runs a generator in float32, its 3 × 3 layers with a quarter of the multiplications.

    A tail at high resolution, as published networks have it, and what comes after that are OpenVINO's.
    """

    def __init__(
        self,
        card: ModelCard,
        mtf_nyquist: Sequence[float | None],
        spec: EngineSpec,
        parallel: Parallel,
        *,
        picture: bool = False,
    ) -> None:
        """See :class:`LaneEngine`; for a card with a network, and of ``spec`` there is one precision."""
        super().__init__(card, mtf_nyquist, parallel, picture=picture)
        assert card.network is not None, "without a network there is nothing to convolve"
        assert spec.precision == "float32", "there is no other code"
        self._size = card.network
        self._layers = read_layers(self._weights, self._size, compiled().outputs)

    def _as_input(self, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        if self._size.tail == "shuffle" and valid.all():
            # Only OpenVINO asks for an array that is there.
            return np.broadcast_to(np.float32(1), valid.shape)
        return super()._as_input(valid)

    def _steps(self, shape: tuple[int, ...], memory: Memory, *, doubts: bool) -> list[Step]:
        card, code, (_, bands, rows, cols) = self._card, compiled(), shape
        planes = Planes(rows, cols, code.step)
        runner = Runner(planes, code, self._threads, list(self._layers.values()), memory)
        spare = planes_for(bands, card.scale)
        network = Network(planes, runner, self._layers, self._size, card.halo_px, memory, spare)
        out = _Taker(planes, runner, memory, card.halo_px)
        if self._size.tail == "shuffle":
            constraint = Constraint(planes, runner, taps=self._taps, scale=card.scale, base=card.base, steps=card.steps)
            return [_Chunk(network, constraint, out, self._margin, doubts=doubts)]
        from geosr.engine.openvino_engine import compile_graph, graphs_of

        graphs = graphs_of(card, self._taps, self._weights, shape, self._margin, doubts=doubts)

        def features(known: Known) -> dict[str, NDArray[np.float32]]:
            made = network(known["lr"][0])
            return {"deep": out(made.deep, made.region, kept_margin(card.halo_px), name="deep")}

        return [features, *(compile_graph(graph, "float32", self._threads) for graph in graphs.after_network())]


class _Taker:
    """Takes images out of planes."""

    def __init__(self, planes: Planes, runner: Runner, memory: Memory, halo_px: int) -> None:
        self._planes, self.runner, self._memory, self.halo_px = planes, runner, memory, halo_px

    def __call__(
        self, planes: NDArray[np.float32], region: Region, margin_px: int, *, name: str, lent: bool = False
    ) -> NDArray[np.float32]:
        """``(1, planes, rows, cols)`` with a margin: lent, or in memory that the next chunk takes again."""
        shape = (1, len(planes), *self.sides(margin_px))
        image = (self._memory.lend if lent else self._memory.take)(name, shape)
        self.runner.take(planes, region, image[0])
        return image

    def sides(self, margin_px: int) -> tuple[int, int]:
        """Rows and columns of an image with a margin."""
        less, whole = 2 * (self.halo_px - margin_px), self._planes.whole
        return whole.rows - less, whole.cols - less

    def rows(self, made: Constrained, first: int, stop: int) -> NDArray[np.float32]:
        """Rows of an image without a margin, ``(planes, rows, cols)``, with the last that is to be done to it."""
        region, count = made.region, len(made.residual)
        rows, cols = self.sides(0)
        top = (region.rows - rows) // 2
        strip = self._memory.lend("strip", self._planes.shape_of_rows(count, stop - first))
        self.runner.gather_rows(made.last, region, made.half, strip, made.residual, top + first)
        image: NDArray[np.float32] = self._memory.lend("rows", (count, stop - first, cols))
        self.runner.take_rows(strip, region, image)
        return image


class _Chunk:
    """Upscales chunks of one shape."""

    def __init__(self, network: Network, constraint: Constraint, out: _Taker, margin_px: int, *, doubts: bool) -> None:
        self._network, self._constraint, self._out = network, constraint, out
        self._margin_px, self._doubts = margin_px, doubts

    def __call__(self, known: Known) -> dict[str, NDArray[np.float32]]:
        made = self._network(known["lr"][0])
        region, residual = made.region, made.residual
        assert residual is not None, "its tail is at low resolution"
        new: dict[str, Any] = {}
        if self._doubts:
            kept = kept_margin(self._out.halo_px)
            new["deep"] = self._out(made.deep, region, kept, name="deep")
            new["residual"] = self._out(residual, region, kept, name="residual")
        left = self._constraint(region, residual, made.lr, known["valid"][0], made.free)
        if self._doubts:
            self._out.runner.gather(left.last, region, left.half, residual, residual)
            new["phases"] = self._out(residual, region, self._margin_px, name="phases", lent=True)
        else:
            new["rows"] = _Rows(self._out, left, len(made.lr))
        new["observed"] = self._out(left.observed, region, self._margin_px, name="observed", lent=True)
        return new


class _Rows:
    """An image that is made as its rows are taken."""

    def __init__(self, out: _Taker, made: Constrained, bands: int) -> None:
        self._out, self._made = out, made
        self.shape = (bands, len(made.residual) // bands, *out.sides(0))

    def __call__(self, first: int, stop: int) -> NDArray[np.float32]:
        rows = self._out.rows(self._made, first, stop)
        return rows.reshape(*self.shape[:2], stop - first, self.shape[3])
