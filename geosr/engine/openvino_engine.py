"""The OpenVINO engine, on the CPU. Loads PyTorch only where half-widths are asked for."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geosr.engine import MARGIN_PX, EngineSpec, Parallel, Upscaled
from geosr.engine.openvino_graphs import body_graph, constrain_graph, first_graph, last_graph, network_graph
from geosr.engine.quiet_openvino import ov
from geosr.errors import DeviceError
from geosr.model import kernels
from geosr.model.card import ModelCard
from geosr.model.weights import misfit, read_weights

if TYPE_CHECKING:
    from geosr.engine.doubts import Doubts


@dataclass
class _Lane:
    """What is compiled for chunks of one shape; it keeps the memory of all layers."""

    shape: tuple[int, ...] = ()
    network: list[Any] = field(default_factory=list)
    """In one part, or in three; none for a model without."""
    constrain: dict[bool, Any] = field(default_factory=dict)
    """By whether there is a mask."""


class OpenVinoEngine:
    """Runs a generator with the network's body in the chosen precision and all else in float32."""

    def __init__(
        self,
        card: ModelCard,
        mtf_nyquist: Sequence[float | None],
        spec: EngineSpec,
        parallel: Parallel,
    ) -> None:
        """``mtf_nyquist`` is what is assumed of the bands.

        Raises :class:`geosr.errors.ModelError` for weights that are missing or not those of the card.
        """
        self._card = card
        self._mtf_nyquist = list(mtf_nyquist)
        self._precision = spec.precision
        self._taps = kernels.gaussian_taps(np.asarray(kernels.sensor_sigmas(mtf_nyquist, card.scale)), card.scale)
        self._weights = None if card.network is None else read_weights(card)
        self._threads = parallel.threads
        self._core = ov.Core()
        self._lanes: queue.LifoQueue[_Lane] = queue.LifoQueue()
        for _ in range(parallel.lanes):
            self._lanes.put(_Lane())
        self._margin = min(MARGIN_PX, card.halo_px)

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        low = np.ascontiguousarray(lr)[None]
        mask = None if valid.all() else valid.astype(np.float32)[None]
        inputs, deep = {"lr": low}, None
        with self._lane(low.shape) as lane:
            if lane.network:
                inputs["residual"], deep = _run_network(lane.network, low)
            if mask is not None:
                inputs["valid"] = mask
            near, observed = _infer(self._constrain(lane, masked=mask is not None), inputs, own=True)
            phases = _crop(near[0], self._margin)
            image = phases.reshape(len(lr), -1, *phases.shape[1:])
            seen = _crop(observed[0], self._margin)
            if not uncertainty:
                return Upscaled(image, seen)
            import torch

            with torch.inference_mode():
                half_width, support = self._doubts(
                    torch.from_numpy(low),
                    None if mask is None else torch.from_numpy(mask),
                    torch.from_numpy(deep),
                    torch.from_numpy(inputs["residual"]),
                    torch.from_numpy(near),
                )
            return Upscaled(image, seen, half_width[0].numpy(), support[0].numpy())

    def rehearse(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            ratios: NDArray[np.float32] = self._doubts.rehearse(torch.from_numpy(np.ascontiguousarray(lr))).numpy()
        return ratios

    @cached_property
    def _doubts(self) -> Doubts:
        from geosr.engine.doubts import Doubts
        from geosr.model.build import build

        return Doubts(self._card, build(self._card, self._mtf_nyquist))

    @contextmanager
    def _lane(self, shape: tuple[int, ...]) -> Iterator[_Lane]:
        """A lane for chunks of a shape; what it had for another goes before the new is made."""
        lane = self._lanes.get()
        try:
            if lane.shape != shape:
                lane.shape, lane.network, lane.constrain = (), [], {}
                lane.network = [self._compile(*part) for part in self._network(shape)]
                # Only now: where this fails, nothing half-made is found.
                lane.shape = shape
            yield lane
        finally:
            self._lanes.put(lane)

    def _network(self, shape: tuple[int, ...]) -> list[tuple[ov.Model, str]]:
        """The network's graphs, and the precision of each."""
        size, weights, scale = self._card.network, self._weights, self._card.scale
        if size is None or weights is None:
            return []
        try:
            if self._precision == "float32":
                return [(network_graph(weights, size, shape, scale), "float32")]
            parts = [
                (first_graph(weights, shape), "float32"),
                (body_graph(weights, size, shape, scale), self._precision),
            ]
            if size.tail == "shuffle":
                parts.append((last_graph(weights, size, shape, scale), "float32"))
        except (KeyError, RuntimeError) as error:
            raise misfit(self._card, error) from error
        return parts

    def _constrain(self, lane: _Lane, *, masked: bool) -> Any:
        if masked not in lane.constrain:
            graph = constrain_graph(
                self._taps,
                lane.shape,
                self._card.scale,
                base=self._card.base,
                steps=self._card.steps,
                halo_px=self._card.halo_px - self._margin,
                network=self._weights is not None,
                masked=masked,
            )
            lane.constrain[masked] = self._compile(graph, "float32")
        return lane.constrain[masked]

    def _compile(self, graph: ov.Model, precision: str) -> Any:
        try:
            compiled = self._core.compile_model(
                graph,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
                    "INFERENCE_NUM_THREADS": self._threads,
                    "NUM_STREAMS": 1,
                    # Processes side by side would be pinned to the same cores.
                    "ENABLE_CPU_PINNING": False,
                },
            )
            return compiled.create_infer_request()
        except RuntimeError as error:
            raise _explain(error) from error


def _run_network(parts: list[Any], lr: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The residual's phases and the features."""
    if len(parts) == 1:
        return _infer(parts[0], {"lr": lr})
    (shallow,) = _infer(parts[0], {"lr": lr})
    results = _infer(parts[1], {"shallow": shallow})
    return results if len(parts) == 2 else _infer(parts[2], {"shallow": shallow, "body": results[0]})


def _infer(request: Any, inputs: dict[str, NDArray[np.float32]], *, own: bool = False) -> list[NDArray[np.float32]]:
    """The outputs: arrays of their ``own``, or in the request's memory, where they are until it is used again."""
    outputs = request.model_outputs
    try:
        if own:
            arrays = [np.empty(tuple(output.shape), np.float32) for output in outputs]
            for number, array in enumerate(arrays):
                request.set_output_tensor(number, ov.Tensor(array, shared_memory=True))
            request.infer(inputs, share_inputs=True, share_outputs=True)
            return arrays
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
    except RuntimeError as error:
        raise _explain(error) from error
    return [results[number] for number in range(len(outputs))]


def _explain(error: RuntimeError) -> Exception:
    if "alloc" in str(error):
        return DeviceError("not enough memory for a chunk: try a smaller --core")
    return error


def _crop(image: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    return image if margin == 0 else image[..., margin:-margin, margin:-margin]
