"""The machine code of Winograd's engine: for planes as :mod:`geosr.engine.winograd.layout` lays them out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from geosr.codegen.compiler import Compiled, Function, compile_functions, lanes_here
from geosr.codegen.winograd.arguments import Gathering, Layer, Taking, Trips
from geosr.codegen.winograd.backprojection import trips
from geosr.codegen.winograd.conv3x3 import VECTORS, convolve
from geosr.codegen.winograd.deinterleave import take
from geosr.codegen.winograd.sparse_conv import gather

_COUNT, _ROOM = ctypes.c_int64, ctypes.c_void_p


@dataclass(frozen=True)
class Code:
    """What was compiled."""

    lanes: int
    """Floats of a vector."""
    outputs: int
    """Planes made together: layers have a multiple of them."""
    compiled: Compiled

    @property
    def tiles(self) -> int:
        """Tiles that go through a layer together."""
        return VECTORS * self.lanes

    @property
    def step(self) -> int:
        """What the tiles in a row are a multiple of: half vectors."""
        return self.lanes // 2

    @property
    def convolve(self) -> Callable[..., None]:
        """``(layer, first row of tiles, row of tiles to stop before, room for inputs, room for outputs)``."""
        return self.compiled.functions["convolve"]

    @property
    def gather(self) -> Callable[..., None]:
        """``(task, first row, row to stop before)``."""
        return self.compiled.functions["gather"]

    @property
    def trips(self) -> Callable[..., None]:
        """``(task, room for filtered rows)``."""
        return self.compiled.functions["trips"]

    @property
    def take(self) -> Callable[..., None]:
        """``(task, first plane, plane to stop before)``."""
        return self.compiled.functions["take"]


@lru_cache(maxsize=1)
def compiled() -> Code:
    """The code for this processor, made when a process first needs it."""
    lanes = lanes_here()
    # As many sums as there are registers, but for what is read.
    outputs = 8 if lanes == 16 else 4
    part = {"first": _COUNT, "stop": _COUNT}
    functions = {
        "convolve": Function(
            {"layer": ctypes.POINTER(Layer), **part, "in": _ROOM, "made": _ROOM}, partial(convolve, outputs=outputs)
        ),
        "gather": Function({"task": ctypes.POINTER(Gathering), **part}, gather),
        "take": Function({"task": ctypes.POINTER(Taking), **part}, take),
        "trips": Function({"task": ctypes.POINTER(Trips), "room": _ROOM}, trips),
    }
    return Code(lanes, outputs, compile_functions(functions, lanes))
