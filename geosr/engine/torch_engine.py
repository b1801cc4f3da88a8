"""The PyTorch engine, on the CPU and on CUDA."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosr.engine import EngineOutput, EngineSpec, Parallel
from geosr.engine.rows import ArrayRows, ImageSink, stream_rows
from geosr.engine.uncertainty import UncertaintyEstimator
from geosr.errors import DeviceError, ModelError
from geosr.model.card import ModelCard
from geosr.model.generator import Generator
from geosr.model.layer_margins import crop, kept_margin
from geosr.model.reduced_precision import convolve_in_float32, reduce_precision
from geosr.model.weights import read_rounded, read_weights

#: Sides of what is computed at once are halved down to this many LR pixels, without the halo, when memory runs out.
_SMALLEST_PX = 32


@dataclass(frozen=True)
class _Inside:
    """Output for a part of a chunk, without its halo; on the host."""

    polyphase: Tensor
    observed: Tensor
    half_width: Tensor | None = None
    measured_fraction: Tensor | None = None


class TorchEngine:
    """Runs a generator with the network's body in the chosen precision and all else in float32."""

    def __init__(self, card: ModelCard, generator: Generator, spec: EngineSpec, parallel: Parallel) -> None:
        torch.set_num_threads(parallel.threads)
        self._device = torch.device("cuda" if spec.name == "torch-cuda" else "cpu")
        self._slots: queue.LifoQueue[Any] = queue.LifoQueue()
        """Each slot's stream, so that one's copies do not wait for another's network; None on the CPU.

        They are kept: memory that was used in one is not at once free for another.
        """
        for _ in range(parallel.concurrent_chunks):
            self._slots.put(torch.cuda.Stream() if self._device.type == "cuda" else None)  # type: ignore[no-untyped-call]
        self._generator = generator.to(self._device)
        self._halo = card.halo_px
        self._estimator = None if card.calibration is None else UncertaintyEstimator(card, self._generator)
        self._may_overflow = spec.precision == "float16"
        self._features = None
        if generator.network is not None:
            rounded = None
            if spec.precision == "bfloat16" and card.bfloat16 is not None:
                rounded = read_rounded(card, read_weights(card))
            reduce_precision(generator.network, getattr(torch, spec.precision), rounded)
            if self._device.type == "cpu":
                convolve_in_float32(generator.network)
            generator.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._features = torch.compile(generator.network.features) if spec.compiled else generator.network.features
        self._side = 0
        """Longest side that is computed at once, LR pixels without the halo; 0 for no limit."""

    def upscale(
        self,
        lr: NDArray[np.float32],
        valid: NDArray[np.bool_],
        *,
        uncertainty: bool = False,
        sink: ImageSink | None = None,
    ) -> EngineOutput:
        low = torch.from_numpy(np.ascontiguousarray(lr))[None]
        mask = None if valid.all() else torch.from_numpy(valid.astype(np.float32))[None]
        with self._slot(), _exact(), torch.inference_mode():
            made = self._in_parts(low, mask, uncertainty)
        polyphase = made.polyphase[0].numpy()
        return EngineOutput(
            stream_rows(ArrayRows(polyphase.reshape(len(lr), -1, *polyphase.shape[1:])), sink),
            made.observed[0].numpy(),
            None if made.half_width is None else made.half_width[0].numpy(),
            None if made.measured_fraction is None else made.measured_fraction[0].numpy(),
            note=f"the GPU's memory held no more than {self._side} pixels at once" if self._side else None,
        )

    def calibration_ratios(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._slot(), _memory_errors(self._device), _exact(), torch.inference_mode():
            low = torch.from_numpy(np.ascontiguousarray(lr)).to(self._device)
            made = self._needed().calibration_ratios(low)
            self._check_range(made)
            ratios: NDArray[np.float32] = made.cpu().numpy()
            return ratios

    def _in_parts(self, low: Tensor, mask: Tensor | None, uncertainty: bool) -> _Inside:
        """At once where memory allows, in halves along its longer side where it does not, and so on."""
        rows, cols = (side - 2 * self._halo for side in low.shape[2:])
        longest = max(rows, cols)
        if not self._side or longest <= self._side:
            try:
                return self._at_once(low, mask, uncertainty)
            except torch.OutOfMemoryError as error:
                if longest // 2 < _SMALLEST_PX:
                    raise _too_small(self._device) from error
            # Not in the handler: what it holds of the failed attempt has to go first.
            self._side = longest // 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        axis = 2 if rows >= cols else 3
        middle = longest // 2
        parts = []
        for start, stop in ((0, middle), (middle, longest)):
            window = slice(start, stop + 2 * self._halo)
            where = (..., window, slice(None)) if axis == 2 else (..., window)
            parts.append(self._in_parts(low[where], None if mask is None else mask[where], uncertainty))
        return _joined(parts, axis)

    def _at_once(self, low: Tensor, mask: Tensor | None, uncertainty: bool) -> _Inside:
        with _memory_errors(self._device):
            low, mask = self._sent(low), None if mask is None else self._sent(mask)
            network = self._generator.network
            deep = residual = None
            margin = self._halo
            if network is not None and self._features is not None:
                deep = self._features(self._generator.entering(low), self._halo)
                residual = network.to_polyphase(deep)
                margin = kept_margin(self._halo)
            given_up = self._halo - margin
            polyphase, observed = self._generator.constrain(
                crop(low, given_up), residual, None if mask is None else crop(mask, given_up)
            )
            inside, seen = crop(polyphase, margin), crop(observed, margin)
            self._check_range(inside)
            if not uncertainty:
                return _Inside(*self._received(inside, seen))
            assert deep is not None
            assert residual is not None
            estimator = self._needed()
            polyphase = crop(polyphase, margin - estimator.margin_px)
            return _Inside(*self._received(inside, seen, *estimator(low, mask, deep, residual, polyphase)))

    def _check_range(self, made: Tensor) -> None:
        if self._may_overflow and not bool(made.isfinite().all()):
            raise ModelError("the network's features leave float16's range: take --precision bfloat16 or float32")

    def _sent(self, tensor: Tensor) -> Tensor:
        """On the device. From pinned memory it is copied while the device computes for another slot."""
        if self._device.type == "cpu":
            return tensor
        return tensor.contiguous().pin_memory().to(self._device, non_blocking=True)

    def _received(self, *tensors: Tensor) -> list[Tensor]:
        """On the host, likewise; complete."""
        if self._device.type == "cpu":
            return list(tensors)
        hosts = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for host, tensor in zip(hosts, tensors, strict=True):
            host.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return hosts

    @contextmanager
    def _slot(self) -> Iterator[None]:
        stream = self._slots.get()
        try:
            # On the CPU, where there is none, this does nothing.
            with torch.cuda.stream(stream):
                yield
        finally:
            self._slots.put(stream)

    def _needed(self) -> UncertaintyEstimator:
        if self._estimator is None:
            raise ValueError("this model has no calibrated half-widths")
        return self._estimator


def _joined(parts: list[_Inside], axis: int) -> _Inside:
    polyphase = torch.cat([part.polyphase for part in parts], axis)
    observed = torch.cat([part.observed for part in parts], axis)
    if parts[0].half_width is None:
        return _Inside(polyphase, observed)
    half_width = torch.cat([part.half_width for part in parts if part.half_width is not None], axis)
    # The measured fraction has no axis for bands.
    measured_fraction = torch.cat(
        [part.measured_fraction for part in parts if part.measured_fraction is not None], axis - 1
    )
    return _Inside(polyphase, observed, half_width, measured_fraction)


def _exact() -> AbstractContextManager[None]:
    """CUDA's convolutions without TF32, which keeps 10 bits of float32's 23, and equal from run to run."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


@contextmanager
def _memory_errors(device: torch.device) -> Iterator[None]:
    """PyTorch has an error of its own for a full GPU, and a general one that says so for a full machine."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise _too_small(device) from error
        raise


def _too_small(device: torch.device) -> DeviceError:
    return DeviceError(f"not enough memory on {device} for a chunk: try a smaller --core")
