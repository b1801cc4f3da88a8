"""Engines, which run a generator on the hardware there is, and the choice between them.

Start with :func:`choose_engine` and :class:`Engine` here, then :mod:`geosr.engine.start`. ``torch_engine``,
``openvino_engine``, ``stack_engine`` and ``winograd`` are the engines; ``chunking`` decides how large chunks are,
``pooled``, ``buffers`` and ``rows`` are shared. May import ``codegen``, ``model`` and ``hardware``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from geosr import hardware
from geosr.engine.rows import ImageSink
from geosr.errors import DeviceError, UsageError
from geosr.model.card import ModelCard

EngineName = Literal["auto", "torch", "openvino", "winograd"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

#: Precisions of the network that each engine has.
_PRECISIONS = {
    "openvino-cpu": ("float32", "bfloat16"),
    "winograd-cpu": ("float32",),
    "torch-cpu": ("float32", "bfloat16"),
    "torch-cuda": ("float32", "bfloat16", "float16"),
}

_CPU_ONLY = ("openvino", "winograd")


@dataclass(frozen=True)
class EngineSpec:
    """Which engine runs, in what precision. Part of what makes a run repeatable."""

    name: str
    """As ``torch-cpu``."""
    precision: str
    """Precision of the network's body; all else is in float32."""
    compiled: bool = False
    """True when PyTorch compiles the network for this machine first, which rounds in other places."""

    def __str__(self) -> str:
        return f"{self.name}-{self.precision}" + ("-compiled" if self.compiled else "")


@dataclass(frozen=True)
class EngineChoice:
    """Engine, device and precision as a user asks for them; ``auto`` leaves one to the machine."""

    engine: EngineName = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    compiled: bool = False
    """Let PyTorch compile the network."""

    def for_card(self, card: ModelCard) -> EngineSpec:
        """Choose the engine that runs a model. Raises as :func:`choose_engine`."""
        return choose_engine(
            self.engine,
            self.device,
            self.precision,
            network=card.learned,
            stack=card.stack is not None,
            compiled=self.compiled,
        )


def choose_engine(
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    *,
    network: bool = True,
    stack: bool = False,
    compiled: bool = False,
) -> EngineSpec:
    """The engine that runs a model, with a ``network`` or without, or with a ``stack`` of them.

    ``auto`` takes CUDA where there is a GPU, and else what is installed of OpenVINO and, in float32, of Winograd's
    convolutions; of precisions the most exact of those in which the hardware is fastest. A model without a network has
    nothing to run in another precision than float32, to convolve, or to be ``compiled``. A stack runs in PyTorch and in
    float32.

    Raises :class:`UsageError` for what does not exist or go together, :class:`DeviceError` for what is not there.
    """
    for what, value, known in (
        ("engine", engine, get_args(EngineName)),
        ("device", device, get_args(Device)),
        ("precision", precision, get_args(Precision)),
    ):
        if value not in known:
            raise UsageError(f"the {what} is {' or '.join(known)}, not {value}")
    if engine in _CPU_ONLY and device == "cuda":
        raise UsageError(f"the engine {engine} runs on the CPU: leave --device out, or take --engine torch")
    if stack:
        engine, precision = _of_stack(engine, precision, compiled=compiled)
    name = _choose_name(engine, device, precision)
    if precision not in ("auto", *_PRECISIONS[name]):
        raise UsageError(f"the engine {name} has no precision {precision}: it has {' and '.join(_PRECISIONS[name])}")
    if compiled and name in ("openvino-cpu", "winograd-cpu"):
        raise UsageError("PyTorch compiles networks, other engines always do so: take --engine torch with --compile")
    if not network:
        return EngineSpec("openvino-cpu" if name == "winograd-cpu" else name, "float32")
    return EngineSpec(name, _fastest(name) if precision == "auto" else precision, compiled)


def check_engine(spec: EngineSpec) -> None:
    """Hold an engine that was chosen on another machine against what this one has.

    Raises :class:`DeviceError`.
    """
    if spec.name == "openvino-cpu":
        if not hardware.has_openvino():
            raise DeviceError(f"this run computes with {spec}, and OpenVINO is not installed here")
        if spec.precision == "bfloat16" and not _openvino_has_bfloat16():
            raise DeviceError(f"this run computes with {spec}, which OpenVINO has not got on this processor")
    if spec.name == "winograd-cpu" and not hardware.has_winograd():
        raise DeviceError(f"this run computes with {spec}, and this machine lacks llvmlite, OpenVINO or AVX2")
    if spec.name == "torch-cuda" and not _has_cuda(needed=True):
        raise DeviceError(f"this run computes with {spec}, and there is no GPU here")


def _of_stack(engine: EngineName, precision: Precision, *, compiled: bool) -> tuple[EngineName, Precision]:
    if engine in _CPU_ONLY or precision not in ("auto", "float32") or compiled:
        raise UsageError(
            "a model for bands of two sampling distances runs in PyTorch and in float32: leave --engine, "
            "--precision and --compile out"
        )
    return "torch", "float32"


def _choose_name(engine: EngineName, device: Device, precision: Precision) -> str:
    if engine == "openvino":
        if not hardware.has_openvino():
            raise DeviceError("OpenVINO is not installed: pip install 'geosr[openvino]', or take --engine torch")
        if precision == "bfloat16" and not _openvino_has_bfloat16():
            raise DeviceError("OpenVINO has no bfloat16 on this processor: take --precision float32")
        return "openvino-cpu"
    if engine == "winograd":
        if not hardware.has_winograd():
            raise DeviceError(
                "the engine winograd needs llvmlite, OpenVINO and a processor with AVX2: pip install 'geosr[cpu]', or "
                "take --engine torch"
            )
        return "winograd-cpu"
    if device != "cpu" and _has_cuda(needed=device == "cuda"):
        return "torch-cuda"
    if device == "cuda":
        raise DeviceError("no CUDA device is available to PyTorch: use --device cpu")
    if engine == "torch" or not hardware.has_openvino():
        return "torch-cpu"
    if precision == "bfloat16":
        # PyTorch computes in bfloat16 on any processor, if slowly.
        return "openvino-cpu" if _openvino_has_bfloat16() else "torch-cpu"
    reduced = precision == "auto" and hardware.has_fast_bfloat16()
    return "winograd-cpu" if hardware.has_winograd() and not reduced else "openvino-cpu"


def _fastest(name: str) -> str:
    if name == "torch-cuda":
        # As fast as bfloat16 on any GPU that has both, and keeps three bits more.
        return "float16"
    # PyTorch's, which hands out no more digits than it is given, gains nothing where features are split.
    return "bfloat16" if name == "openvino-cpu" and hardware.has_fast_bfloat16() else "float32"


def _has_cuda(*, needed: bool) -> bool:
    # Loading PyTorch takes seconds: not unless its answer may be yes.
    if not needed and not hardware.may_have_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def _openvino_has_bfloat16() -> bool:
    from geosr.engine.openvino_import import ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


#: LR pixels beyond a place that its measured fraction depends on: the filter reaches 3, the window 1, enlarging 1 more.
MARGIN_PX = 5


@dataclass(frozen=True)
class Parallel:
    """Share of a machine's cores that an engine has."""

    concurrent_chunks: int = 1
    """Chunks computed at a time."""
    threads: int = 1
    """Cores at work on each."""


@dataclass(frozen=True)
class EngineOutput:
    """Output of a generator for the inside of one chunk, in units of the bands' reference reflectance."""

    polyphase: NDArray[np.float32] | None
    """The image, see :mod:`geosr.model.kernels`: ``(bands, scale * scale, rows, cols)``; None when it was taken."""
    observed: NDArray[np.float32]
    """The image as the sensor would observe it, ``(bands, rows, cols)``."""
    half_width: NDArray[np.float32] | None = None
    """Half-width of each pixel's interval, ``(bands, scale rows, scale cols)``; None when it was not asked for."""
    measured_fraction: NDArray[np.float32] | None = None
    """Share of the local detail that is measured, 0 to 1, ``(scale rows, scale cols)``; None as above."""
    note: str | None = None
    """Warning for the user about how it was computed."""


class Engine(Protocol):
    """Runs a generator on up to ``Parallel.concurrent_chunks`` chunks at a time; further callers wait."""

    def upscale(
        self,
        lr: NDArray[np.float32],
        valid: NDArray[np.bool_],
        *,
        uncertainty: bool = False,
        sink: ImageSink | None = None,
    ) -> EngineOutput:
        """Upscale ``(bands, rows, cols)`` but for the model's halo on each side.

        The image is the same with uncertainty and without. ``sink`` is given it a few rows at a time, for as long as it
        does not return: the whole of it need never be in memory.
        """

    def calibration_ratios(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """``|error| / half-width`` of ``(bands, rows, cols)`` made from itself.

        See :mod:`geosr.model.scene_calibration`.
        """
