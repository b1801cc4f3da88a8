"""Base of the engines on the CPU: a pool of slots, each computing one chunk in a few steps, and half-widths."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.engine import MARGIN_PX, EngineOutput, EngineSpec, Parallel
from geosr.engine.buffers import BufferPool
from geosr.engine.rows import ArrayRows, ImageSink, Rows, stream_rows
from geosr.model import kernels
from geosr.model.card import ModelCard
from geosr.model.layer_margins import crop
from geosr.model.weights import read_weights

if TYPE_CHECKING:
    from geosr.engine.uncertainty import UncertaintyEstimator

#: What is known of a chunk, by name, each with a first axis of one: to begin with ``lr``, its bands, and ``valid``, 1
#: where a pixel was measured and 0 where it was filled in. In the end the image's ``polyphase`` channels and what the
#: sensor has ``observed`` of it, both with a margin; for half-widths also the network's features, ``deep``, and its
#: ``residual``. All are arrays, but for ``rows``, which an engine may have in the place of ``polyphase``: the image,
#: without a margin.
ChunkArrays: TypeAlias = Mapping[str, Any]

#: From what is known to more of it.
EngineStep: TypeAlias = Callable[[ChunkArrays], dict[str, Any]]


@dataclass
class _Slot:
    """Steps prepared for chunks of one shape, with the memory of all layers."""

    memory: BufferPool
    shape: tuple[int, ...] = ()
    uncertainty: bool = False
    """True when the steps also give what half-widths are made of; the image is the same."""
    steps: list[EngineStep] = field(default_factory=list)


class PooledEngine(ABC):
    """Runs a generator on as many chunks at a time as the pool has slots. Loads PyTorch only for half-widths."""

    def __init__(
        self,
        card: ModelCard,
        mtf_nyquist: Sequence[float | None],
        spec: EngineSpec,
        parallel: Parallel,
        *,
        plain_image: bool = False,
    ) -> None:
        """``mtf_nyquist`` is what is assumed of the bands, which stand in for those of a plain image or do not.

        Raises :class:`geosr.errors.ModelError` for weights that are missing or not those of the card.
        """
        self._card = card
        self._mtf_nyquist, self._plain_image = list(mtf_nyquist), plain_image
        self._taps = kernels.gaussian_taps(np.asarray(kernels.sensor_sigmas(mtf_nyquist, card.scale)), card.scale)
        self._weights = {} if card.network is None else read_weights(card)
        self._threads = parallel.threads
        self._slots: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for _ in range(parallel.concurrent_chunks):
            self._slots.put(_Slot(BufferPool(parallel.threads)))
        self._margin = min(MARGIN_PX, card.halo_px)
        self._spec = spec
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Make of the card and its weights what all chunks need."""

    @abstractmethod
    def _steps(self, shape: tuple[int, ...], memory: BufferPool, *, uncertainty: bool) -> list[EngineStep]:
        """Build the steps, run in turn, for chunks of a shape, ``(1, bands, rows, cols)``."""

    def upscale(
        self,
        lr: NDArray[np.float32],
        valid: NDArray[np.bool_],
        *,
        uncertainty: bool = False,
        sink: ImageSink | None = None,
    ) -> EngineOutput:
        low = np.ascontiguousarray(lr)[None]
        known: dict[str, Any] = {"lr": low, "valid": self._as_input(valid)[None]}
        with self._slot(low.shape, uncertainty=uncertainty) as slot:
            for step in slot.steps:
                known |= step(known)
            seen = crop(known["observed"][0], self._margin)
            rows: Rows = known["rows"] if "rows" in known else self._rows_of(known["polyphase"])
            image = stream_rows(rows, sink, self._threads)
            if not uncertainty:
                return EngineOutput(image, seen)
            import torch

            with torch.inference_mode():
                half_width, measured_fraction = self._estimator(
                    torch.from_numpy(low),
                    None if valid.all() else torch.from_numpy(known["valid"]),
                    torch.from_numpy(known["deep"]),
                    torch.from_numpy(known["residual"]),
                    torch.from_numpy(known["polyphase"]),
                )
            return EngineOutput(image, seen, half_width[0].numpy(), measured_fraction[0].numpy())

    def _as_input(self, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        return valid.astype(np.float32)

    def _rows_of(self, near: NDArray[np.float32]) -> Rows:
        """Rows of polyphase channels ``(1, bands * scale * scale, rows, cols)`` with a margin."""
        polyphase = crop(near[0], self._margin)
        return ArrayRows(polyphase.reshape(len(self._taps), -1, *polyphase.shape[1:]))

    def calibration_ratios(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            ratios: NDArray[np.float32] = self._estimator.calibration_ratios(
                torch.from_numpy(np.ascontiguousarray(lr))
            ).numpy()
        return ratios

    @cached_property
    def _estimator(self) -> UncertaintyEstimator:
        from geosr.engine.uncertainty import UncertaintyEstimator
        from geosr.model.build import build

        return UncertaintyEstimator(self._card, build(self._card, self._mtf_nyquist, plain_image=self._plain_image))

    @contextmanager
    def _slot(self, shape: tuple[int, ...], *, uncertainty: bool) -> Iterator[_Slot]:
        """A slot for chunks of a shape; what it had for others goes before the new is made."""
        slot = self._slots.get()
        try:
            if slot.shape != shape or (uncertainty and not slot.uncertainty):
                slot.shape, slot.steps = (), []
                slot.steps = self._steps(shape, slot.memory, uncertainty=uncertainty)
                # Only now: where this fails, nothing half-made is found.
                slot.shape, slot.uncertainty = shape, uncertainty
            yield slot
        finally:
            self._slots.put(slot)
