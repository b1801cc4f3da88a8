"""The machine code of Winograd's engine: for planes as :mod:`geosr.engine.winograd.layout` lays them out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from geosr.codegen.compiler import Compiled, Function, compile_functions, simd_width_here
from geosr.codegen.winograd.arguments import (
    BackprojectionArguments,
    Conv3x3Arguments,
    DeinterleaveArguments,
    SparseConvArguments,
)
from geosr.codegen.winograd.backprojection import backproject
from geosr.codegen.winograd.conv3x3 import VECTORS, convolve
from geosr.codegen.winograd.deinterleave import deinterleave
from geosr.codegen.winograd.sparse_conv import gather

_COUNT, _SCRATCH = ctypes.c_int64, ctypes.c_void_p


@dataclass(frozen=True)
class Code:
    """What was compiled."""

    simd_width: int
    """Floats of a vector."""
    outputs: int
    """Planes made together: layers have a multiple of them."""
    compiled: Compiled

    @property
    def tiles(self) -> int:
        """Tiles that go through a layer together."""
        return VECTORS * self.simd_width

    @property
    def step(self) -> int:
        """What the tiles in a row are a multiple of: half vectors."""
        return self.simd_width // 2

    @property
    def convolve(self) -> Callable[..., None]:
        """``(layer, first row of tiles, row of tiles to stop before, scratch for inputs, scratch for outputs)``."""
        return self.compiled.functions["convolve"]

    @property
    def gather(self) -> Callable[..., None]:
        """``(task, first row, row to stop before)``."""
        return self.compiled.functions["gather"]

    @property
    def backproject(self) -> Callable[..., None]:
        """``(task, scratch for filtered rows)``."""
        return self.compiled.functions["backproject"]

    @property
    def deinterleave(self) -> Callable[..., None]:
        """``(task, first plane, plane to stop before)``."""
        return self.compiled.functions["deinterleave"]


@lru_cache(maxsize=1)
def compiled() -> Code:
    """The code for this processor, made when a process first needs it."""
    simd_width = simd_width_here()
    # As many sums as there are registers, but for what is read.
    outputs = 8 if simd_width == 16 else 4
    part = {"first": _COUNT, "stop": _COUNT}
    functions = {
        "convolve": Function(
            {"layer": ctypes.POINTER(Conv3x3Arguments), **part, "in": _SCRATCH, "made": _SCRATCH},
            partial(convolve, outputs=outputs),
        ),
        "gather": Function({"task": ctypes.POINTER(SparseConvArguments), **part}, gather),
        "deinterleave": Function({"task": ctypes.POINTER(DeinterleaveArguments), **part}, deinterleave),
        "backproject": Function({"task": ctypes.POINTER(BackprojectionArguments), "scratch": _SCRATCH}, backproject),
    }
    return Code(simd_width, outputs, compile_functions(functions, simd_width))
