"""Engines: what runs a generator on the hardware there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from geosr.errors import DeviceError, UsageError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class EngineSpec:
    """Which engine runs, in what precision. Part of what makes a run repeatable."""

    name: str
    """As ``torch-cpu``."""
    precision: Precision

    def __str__(self) -> str:
        return f"{self.name}-{self.precision}"


def choose_engine(device: Device, precision: Precision) -> EngineSpec:
    """The engine for a device; ``auto`` takes CUDA where there is one.

    Raises :class:`UsageError` for a device or precision that does not exist, :class:`DeviceError` when CUDA is asked
    for and absent.
    """
    for what, value, known in (("device", device, get_args(Device)), ("precision", precision, get_args(Precision))):
        if value not in known:
            raise UsageError(f"the {what} is {' or '.join(known)}, not {value}")
    if device == "cpu":
        return EngineSpec("torch-cpu", precision)
    # Loading PyTorch takes seconds: not unless its answer is needed.
    import torch

    if torch.cuda.is_available():
        return EngineSpec("torch-cuda", precision)
    if device == "cuda":
        raise DeviceError("no CUDA device is available to PyTorch: use --device cpu")
    return EngineSpec("torch-cpu", precision)


@dataclass(frozen=True)
class Upscaled:
    """What a generator makes of one chunk, in units of the bands' reference reflectance."""

    image: NDArray[np.float32]
    """``(bands, scale rows, scale cols)``."""
    observed: NDArray[np.float32]
    """What the sensor would observe of it, ``(bands, rows, cols)``."""
    half_width: NDArray[np.float32] | None = None
    """Of each pixel's calibrated interval, shaped as the image; None when it was not asked for."""
    support: NDArray[np.float32] | None = None
    """Share of the local detail that is measured, 0 to 1, ``(scale rows, scale cols)``; None as above."""


class Engine(Protocol):
    """Runs a generator on one chunk at a time."""

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        """Upscale ``(bands, rows, cols)``; the image is the same with uncertainty and without."""

    def rehearse(self, lr: NDArray[np.float32], halo_px: int) -> NDArray[np.float32]:
        """``|error| / half-width`` of ``(bands, rows, cols)`` made from itself, see :mod:`geosr.model.rehearsal`."""
