"""The OpenVINO engine, on the CPU. Loads PyTorch only where half-widths are asked for."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.engine import MARGIN_PX, EngineSpec, Parallel, Upscaled
from geosr.engine.memory import Memory
from geosr.engine.openvino_graphs import Graphs
from geosr.engine.quiet_openvino import ov
from geosr.errors import DeviceError
from geosr.model import kernels
from geosr.model.card import ModelCard
from geosr.model.margins import crop
from geosr.model.weights import misfit, read_weights

if TYPE_CHECKING:
    from geosr.engine.doubts import Doubts


#: From what is known so far, by name, to more of it.
Step: TypeAlias = "Callable[[Mapping[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]]"

#: Outputs that are handed on while the next chunk is computed.
_OWN = ("phases", "observed")


@dataclass
class _Lane:
    """What is compiled for chunks of one shape; it keeps the memory of all layers."""

    shape: tuple[int, ...] = ()
    doubts: bool = False
    """Whether there is all that half-widths are made of; the image is the same."""
    steps: list[Step] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)


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
        self._weights = {} if card.network is None else read_weights(card)
        self._threads = parallel.threads
        self._core = ov.Core()
        self._lanes: queue.LifoQueue[_Lane] = queue.LifoQueue()
        for _ in range(parallel.lanes):
            self._lanes.put(_Lane())
        self._margin = min(MARGIN_PX, card.halo_px)

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        low = np.ascontiguousarray(lr)[None]
        known = {"lr": low, "valid": valid.astype(np.float32)[None]}
        with self._lane(low.shape, doubts=uncertainty) as lane:
            for step in lane.steps:
                known |= step(known)
            near, observed = known["phases"], known["observed"]
            phases = crop(near[0], self._margin)
            image = phases.reshape(len(lr), -1, *phases.shape[1:])
            seen = crop(observed[0], self._margin)
            if not uncertainty:
                return Upscaled(image, seen)
            import torch

            with torch.inference_mode():
                half_width, support = self._doubts(
                    torch.from_numpy(low),
                    None if valid.all() else torch.from_numpy(known["valid"]),
                    torch.from_numpy(known["deep"]),
                    torch.from_numpy(known["residual"]),
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
    def _lane(self, shape: tuple[int, ...], *, doubts: bool) -> Iterator[_Lane]:
        """A lane for chunks of a shape; what it had for others goes before the new is made."""
        lane = self._lanes.get()
        try:
            if lane.shape != shape or (doubts and not lane.doubts):
                lane.shape, lane.steps = (), []
                lane.steps = self._steps(shape, lane.memory, doubts=doubts)
                # Only now: where this fails, nothing half-made is found.
                lane.shape, lane.doubts = shape, doubts
            yield lane
        finally:
            self._lanes.put(lane)

    def _steps(self, shape: tuple[int, ...], memory: Memory, *, doubts: bool) -> list[Step]:
        """What is done in turn to chunks of a shape, from ``lr`` and ``valid`` on; see :class:`Graphs`.

        OpenVINO has its own ``memory``.
        """
        try:
            graphs = self._graphs(shape, doubts=doubts).all(self._precision)
        except (KeyError, RuntimeError) as error:
            raise misfit(self._card, error) from error
        return [self._compile(*graph) for graph in graphs]

    def _graphs(self, shape: tuple[int, ...], *, doubts: bool) -> Graphs:
        card = self._card
        return Graphs(
            shape,
            card.scale,
            self._taps,
            base=card.base,
            steps=card.steps,
            halo_px=card.halo_px,
            margin_px=self._margin,
            doubts=doubts,
            size=card.network,
            weights=self._weights,
        )

    def _compile(self, graph: ov.Model, precision: str) -> Step:
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
            return partial(_infer, compiled.create_infer_request())
        except RuntimeError as error:
            raise _explain(error) from error


def _infer(request: Any, known: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The outputs by name: arrays of their own of the image, of others in the request's memory until it runs again."""
    own = {}
    try:
        for number, output in enumerate(request.model_outputs):
            if output.any_name in _OWN:
                own[output.any_name] = np.empty(tuple(output.shape), np.float32)
                request.set_output_tensor(number, ov.Tensor(own[output.any_name], shared_memory=True))
        inputs = {given.any_name: known[given.any_name] for given in request.model_inputs}
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
    except RuntimeError as error:
        raise _explain(error) from error
    return {output.any_name: results[output] for output in request.model_outputs} | own


def _explain(error: RuntimeError) -> Exception:
    if "alloc" in str(error):
        return DeviceError("not enough memory for a chunk: try a smaller --core")
    return error
