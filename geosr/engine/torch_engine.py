"""The PyTorch engine, on the CPU and on CUDA."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosr.engine import EngineSpec, Parallel, Upscaled
from geosr.engine.doubts import Doubts, crop
from geosr.errors import DeviceError
from geosr.model.card import ModelCard
from geosr.model.generator import Generator


class TorchEngine:
    """Runs a generator with the network's body in the chosen precision and all else in float32."""

    def __init__(self, card: ModelCard, generator: Generator, spec: EngineSpec, parallel: Parallel) -> None:
        torch.set_num_threads(parallel.threads)
        self._lanes = threading.Semaphore(parallel.lanes)
        self._device = torch.device("cuda" if spec.name == "torch-cuda" else "cpu")
        self._generator = generator.to(self._device)
        self._halo = card.halo_px
        self._doubts = None if card.calibration is None else Doubts(card, self._generator)
        if generator.network is not None:
            generator.network.narrow(getattr(torch, spec.precision))
            generator.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        with self._lanes, _memory_errors(self._device), _exact(), torch.inference_mode():
            low = torch.from_numpy(np.ascontiguousarray(lr)).to(self._device)[None]
            mask = None if valid.all() else torch.from_numpy(valid.astype(np.float32)).to(self._device)[None]
            network = self._generator.network
            deep = residual = None
            if network is not None:
                deep = network.features(self._generator.entering(low))
                residual = network.to_phases(deep)
            phases, observed = self._generator.constrain(low, residual, mask)
            inside = _array(crop(phases, self._halo)).reshape(len(lr), -1, *crop(low, self._halo).shape[2:])
            seen = _array(crop(observed, self._halo))
            if not uncertainty:
                return Upscaled(inside, seen)
            assert deep is not None
            assert residual is not None
            doubts = self._needed()
            near = crop(phases, self._halo - doubts.margin_px)
            half_width, support = doubts(low, mask, deep, residual, near)
            return Upscaled(inside, seen, _array(half_width), _array(support))

    def rehearse(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._lanes, _memory_errors(self._device), _exact(), torch.inference_mode():
            low = torch.from_numpy(np.ascontiguousarray(lr)).to(self._device)
            return _array(self._needed().rehearse(low)[None])

    def _needed(self) -> Doubts:
        if self._doubts is None:
            raise ValueError("this model has no calibrated half-widths")
        return self._doubts


def _array(batch: Tensor) -> NDArray[np.float32]:
    """The only image of a batch, as NumPy."""
    array: NDArray[np.float32] = batch[0].cpu().numpy()
    return array


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
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise DeviceError(f"not enough memory on {device} for a chunk: try a smaller --core") from error
        raise
