"""The engine for CPUs in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.winograd.library import compiled
from geosr.engine.buffers import BufferPool
from geosr.engine.pooled import ChunkArrays, EngineStep, PooledEngine
from geosr.engine.winograd.constraint import ConstrainedImage, Constraint, channels_for
from geosr.engine.winograd.dispatch import Runner
from geosr.engine.winograd.layout import PolyphaseLayout, Region
from geosr.engine.winograd.network import WinogradNetwork, read_layers
from geosr.model.layer_margins import kept_margin


class WinogradEngine(PooledEngine):
    """Runs a generator in float32, its 3 × 3 layers with a quarter of the multiplications.

    A tail at high resolution, as published networks have it, and what comes after that are OpenVINO's.
    """

    def _prepare(self) -> None:
        assert self._card.network is not None, "without a network there is nothing to convolve"
        assert self._spec.precision == "float32", "there is no other code"
        self._size = self._card.network
        self._layers = read_layers(self._weights, self._size, compiled().outputs)

    def _as_input(self, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        if self._size.tail == "shuffle" and valid.all():
            # Only OpenVINO asks for an array that is there.
            return np.broadcast_to(np.float32(1), valid.shape)
        return super()._as_input(valid)

    def _steps(self, shape: tuple[int, ...], memory: BufferPool, *, uncertainty: bool) -> list[EngineStep]:
        card, code, (_, bands, rows, cols) = self._card, compiled(), shape
        layout = PolyphaseLayout(rows, cols, code.step)
        runner = Runner(layout, code, self._threads, list(self._layers.values()), memory)
        spare = channels_for(bands, card.scale)
        network = WinogradNetwork(
            layout, runner, self._layers, self._size, card.halo_px, memory, spare, card.input_limits
        )
        if self._size.tail == "shuffle":
            constraint = Constraint(
                layout,
                runner,
                taps=self._taps,
                scale=card.scale,
                base=card.base,
                steps=card.steps,
                noise_limits=card.noise_limits(plain_image=self._plain_image),
            )
            halo_px, margin_px = card.halo_px, self._margin
            return [_Chunk(layout, runner, memory, network, constraint, halo_px, margin_px, uncertainty=uncertainty)]
        from geosr.engine.openvino_engine import compile_graph, graphs_of

        graphs = graphs_of(
            card, self._taps, self._weights, shape, self._margin, uncertainty=uncertainty, plain_image=self._plain_image
        )
        out = _Deinterleaver(layout, runner, memory, card.halo_px)

        def features(known: ChunkArrays) -> dict[str, NDArray[np.float32]]:
            made = network(known["lr"][0])
            return {"deep": out(made.deep, made.region, kept_margin(card.halo_px), name="deep")}

        return [features, *(compile_graph(graph, "float32", self._threads) for graph in graphs.after_network())]


class _Deinterleaver:
    """Takes images out of channels."""

    def __init__(self, layout: PolyphaseLayout, runner: Runner, memory: BufferPool, halo_px: int) -> None:
        self._layout, self._runner, self._memory, self._halo_px = layout, runner, memory, halo_px

    def __call__(
        self, channels: NDArray[np.float32], region: Region, margin_px: int, *, name: str, borrowed: bool = False
    ) -> NDArray[np.float32]:
        """``(1, channels, rows, cols)`` with a margin: borrowed, or in memory that the next chunk takes again."""
        less, whole = 2 * (self._halo_px - margin_px), self._layout.whole
        shape = (1, len(channels), whole.rows - less, whole.cols - less)
        image = (self._memory.borrow if borrowed else self._memory.scratch)(name, shape)
        self._runner.deinterleave(channels, region, image[0])
        return image


class _Chunk:
    """Upscales chunks of one shape."""

    def __init__(
        self,
        layout: PolyphaseLayout,
        runner: Runner,
        memory: BufferPool,
        network: WinogradNetwork,
        constraint: Constraint,
        halo_px: int,
        margin_px: int,
        *,
        uncertainty: bool,
    ) -> None:
        self._layout, self._runner, self._memory = layout, runner, memory
        self._network, self._constraint = network, constraint
        self._halo_px, self._margin_px, self._uncertainty = halo_px, margin_px, uncertainty
        self._out = _Deinterleaver(layout, runner, memory, halo_px)

    def __call__(self, known: ChunkArrays) -> dict[str, Any]:
        made = self._network(known["lr"][0])
        region, residual = made.region, made.residual
        assert residual is not None, "its tail is at low resolution"
        new: dict[str, Any] = {}
        if self._uncertainty:
            kept = kept_margin(self._halo_px)
            new["deep"] = self._out(made.deep, region, kept, name="deep")
            new["residual"] = self._out(residual, region, kept, name="residual")
        left = self._constraint(region, residual, made.lr, known["valid"][0], made.free)
        if self._uncertainty:
            image = left.residual
            self._runner.gather(left.last, region, left.half, image, image)
            new["polyphase"] = self._out(image, region, self._margin_px, name="polyphase", borrowed=True)
        else:
            whole, less = self._layout.whole, 2 * self._halo_px
            shape = (len(made.lr), whole.rows - less, whole.cols - less)
            new["rows"] = _Rows(self._layout, self._runner, self._memory, left, shape)
        new["observed"] = self._out(left.observed, region, self._margin_px, name="observed", borrowed=True)
        return new


class _Rows:
    """An image without a margin, to whose rows the last that is to be done is done as they are taken."""

    def __init__(
        self,
        layout: PolyphaseLayout,
        runner: Runner,
        memory: BufferPool,
        made: ConstrainedImage,
        shape: tuple[int, ...],
    ) -> None:
        self._layout, self._runner, self._memory, self._made = layout, runner, memory, made
        bands, rows, cols = shape
        self._top = (made.region.rows - rows) // 2
        self.shape = (bands, len(made.residual) // bands, rows, cols)

    def __call__(self, first: int, stop: int) -> NDArray[np.float32]:
        made, (bands, _, _, cols) = self._made, self.shape
        count = len(made.residual)
        strip = self._memory.borrow("strip", self._layout.shape_of_rows(count, stop - first))
        self._runner.gather_rows(made.last, made.region, made.half, strip, made.residual, self._top + first)
        image: NDArray[np.float32] = self._memory.borrow("rows", (count, stop - first, cols))
        self._runner.deinterleave_rows(strip, made.region, image)
        return image.reshape(bands, -1, stop - first, cols)
