"""The PyTorch engine, on the CPU and on CUDA."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from geosr.engine import EngineSpec, Upscaled
from geosr.errors import DeviceError
from geosr.model.generator import Generator
from geosr.model.rehearsal import rehearse
from geosr.model.support import Support

#: One chunk at a time per process: two would share the same cores and twice the memory.
_ONE_AT_A_TIME = threading.Lock()


class TorchEngine:
    """Runs a generator with the network's residual in the chosen precision and all else in float32."""

    def __init__(self, generator: Generator, spec: EngineSpec, support: Support | None = None) -> None:
        """``support`` is needed for uncertainty only."""
        self._device = torch.device("cuda" if spec.name == "torch-cuda" else "cpu")
        self._generator = generator.to(self._device)
        self._support = None if support is None else support.to(self._device)
        if generator.network is not None:
            generator.network.to(
                dtype=getattr(torch, spec.precision),
                memory_format=torch.channels_last,  # type: ignore[call-overload]
            )

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        with _ONE_AT_A_TIME, _memory_errors(self._device), _exact(), torch.inference_mode():
            low = torch.from_numpy(np.ascontiguousarray(lr)).to(self._device)[None]
            mask = None if valid.all() else torch.from_numpy(valid.astype(np.float32)).to(self._device)[None]
            if not uncertainty:
                high = self._generator(low, mask)
                return Upscaled(_array(high), _array(self._generator.sensor.observe(high)))
            support = self._needed()
            high, half_width = self._generator.with_half_width(low, mask)
            return Upscaled(
                _array(high),
                _array(self._generator.sensor.observe(high)),
                _array(half_width),
                _array(support(high, low, mask)),
            )

    def rehearse(self, lr: NDArray[np.float32], halo_px: int) -> NDArray[np.float32]:
        with _ONE_AT_A_TIME, _memory_errors(self._device), _exact(), torch.inference_mode():
            low = torch.from_numpy(np.ascontiguousarray(lr)).to(self._device)
            return _array(rehearse(self._generator, low, self._needed().reference, halo_px)[None])

    def _needed(self) -> Support:
        if self._support is None:
            raise ValueError("this engine was made without what uncertainty takes")
        return self._support


def _array(batch: torch.Tensor) -> NDArray[np.float32]:
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
