"""The compiled kernels of the Winograd engine, for channels in the layout of :mod:`geosr.engine.winograd.layout`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from geosr.codegen.compiler import Compiled, Kernel, compile_kernels, simd_width_here
from geosr.codegen.winograd.arguments import (
    BackprojectionArguments,
    Conv3x3Arguments,
    DeinterleaveArguments,
    SparseConvArguments,
)
from geosr.codegen.winograd.backprojection import write_backproject
from geosr.codegen.winograd.conv3x3 import VECTORS, write_convolve
from geosr.codegen.winograd.deinterleave import write_deinterleave
from geosr.codegen.winograd.sparse_conv import write_gather

_COUNT, _SCRATCH = ctypes.c_int64, ctypes.c_void_p


@dataclass(frozen=True)
class Code:
    """Compiled kernels."""

    simd_width: int
    """Floats in a vector."""
    outputs: int
    """Output channels made at once: layers have a multiple of them."""
    compiled: Compiled

    @property
    def tiles(self) -> int:
        """Tiles that go through a layer together."""
        return VECTORS * self.simd_width

    @property
    def step(self) -> int:
        """Half a vector: the tiles in a row are a multiple of it."""
        return self.simd_width // 2

    @property
    def convolve(self) -> Callable[..., None]:
        """``(arguments, first row of tiles, row of tiles to stop before, scratch for inputs, scratch for outputs)``."""
        return self.compiled.functions["convolve"]

    @property
    def gather(self) -> Callable[..., None]:
        """``(arguments, first row, row to stop before)``."""
        return self.compiled.functions["gather"]

    @property
    def backproject(self) -> Callable[..., None]:
        """``(arguments, scratch for filtered rows)``."""
        return self.compiled.functions["backproject"]

    @property
    def deinterleave(self) -> Callable[..., None]:
        """``(arguments, first channel, channel to stop before)``."""
        return self.compiled.functions["deinterleave"]


def compiled() -> Code:
    """Kernels for this processor, compiled when a process first needs them."""
    return compile_for(simd_width_here())


@lru_cache
def compile_for(simd_width: int) -> Code:
    """Kernels for vectors of ``simd_width`` floats, 8 or 16, which the processor must have."""
    outputs = _outputs(simd_width)
    return Code(simd_width, outputs, compile_kernels(kernels(outputs), simd_width))


def kernels(outputs: int) -> dict[str, Kernel]:
    """All kernels, by name; ``outputs`` channels are made at once."""
    part = {"first": _COUNT, "stop": _COUNT}
    return {
        "convolve": Kernel(
            {"task": ctypes.POINTER(Conv3x3Arguments), **part, "transformed": _SCRATCH, "sums": _SCRATCH},
            partial(write_convolve, outputs=outputs),
        ),
        "gather": Kernel({"task": ctypes.POINTER(SparseConvArguments), **part}, write_gather),
        "deinterleave": Kernel({"task": ctypes.POINTER(DeinterleaveArguments), **part}, write_deinterleave),
        "backproject": Kernel(
            {"task": ctypes.POINTER(BackprojectionArguments), "scratch": _SCRATCH}, write_backproject
        ),
    }


def _outputs(simd_width: int) -> int:
    """As many output channels as leave registers for what is read: AVX-512 has twice as many as AVX2."""
    return 8 if simd_width == 16 else 4
