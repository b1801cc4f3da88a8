"""The OpenVINO engine, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.engine.buffers import BufferPool
from geosr.engine.openvino_graphs import Graphs
from geosr.engine.openvino_import import ov
from geosr.engine.pooled import ChunkArrays, EngineStep, PooledEngine
from geosr.errors import DeviceError
from geosr.model.bfloat16 import Rounded
from geosr.model.card import ModelCard
from geosr.model.weights import misfit, read_rounded

#: Outputs that are handed on while the next chunk is computed.
_OWN = ("polyphase", "observed")


class OpenVinoEngine(PooledEngine):
    """Runs a generator with the network's body in the chosen precision and all else in float32."""

    def _prepare(self) -> None:
        reduced = self._card.network is not None and self._spec.precision == "bfloat16"
        self._rounded = read_rounded(self._card, self._weights) if reduced else None

    def _steps(self, shape: tuple[int, ...], memory: BufferPool, *, uncertainty: bool) -> list[EngineStep]:
        # OpenVINO has its own memory.
        graphs = graphs_of(
            self._card,
            self._taps,
            self._weights,
            shape,
            self._margin,
            self._rounded,
            uncertainty=uncertainty,
            plain_image=self._plain_image,
        )
        try:
            parts = graphs.all(self._spec.precision)
        except (KeyError, RuntimeError) as error:
            raise misfit(self._card, error) from error
        return [compile_graph(graph, precision, self._threads) for graph, precision in parts]


def graphs_of(
    card: ModelCard,
    taps: NDArray[np.float32],
    weights: Mapping[str, NDArray[np.float32]],
    shape: tuple[int, ...],
    margin_px: int,
    rounded: Rounded | None = None,
    *,
    uncertainty: bool,
    plain_image: bool,
) -> Graphs:
    """A card's graphs for chunks of a shape; ``taps`` are the sensor's, and what is ``rounded`` is for bfloat16."""
    return Graphs(
        shape,
        card.scale,
        taps,
        base=card.base,
        steps=card.steps,
        noise_limits=card.noise_limits(plain_image=plain_image),
        input_limits=card.input_limits,
        halo_px=card.halo_px,
        margin_px=margin_px,
        uncertainty=uncertainty,
        size=card.network,
        weights=weights,
        rounded=rounded,
    )


def compile_graph(graph: ov.Model, precision: str, threads: int) -> EngineStep:
    """A graph made ready to run on so many threads. Raises :class:`DeviceError` when memory is short."""
    try:
        compiled = _core().compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Processes side by side would be pinned to the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        return partial(_infer, compiled.create_infer_request())
    except RuntimeError as error:
        raise _explain(error) from error


@lru_cache(maxsize=1)
def _core() -> ov.Core:
    return ov.Core()


def _infer(request: Any, known: ChunkArrays) -> dict[str, NDArray[np.float32]]:
    """The outputs by name: arrays of their own of the image, of others in the request's memory until it runs again."""
    own = {}
    try:
        for number, output in enumerate(request.model_outputs):
            if output.any_name in _OWN:
                own[output.any_name] = np.empty(tuple(output.shape), np.float32)
                request.set_output_tensor(number, ov.Tensor(own[output.any_name], shared_memory=True))
        # Where an input is handed on as it is, its tensor has the output's name.
        names = [given.node.friendly_name for given in request.model_inputs]
        inputs = {number: known[name] for number, name in enumerate(names)}
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
    except RuntimeError as error:
        raise _explain(error) from error
    return {output.any_name: results[output] for output in request.model_outputs} | own


def _explain(error: RuntimeError) -> Exception:
    if "alloc" in str(error):
        return DeviceError("not enough memory for a chunk: try a smaller --core")
    return error
