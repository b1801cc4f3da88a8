"""The machine code of Winograd's engine, made for the processor that it runs on.

It is compiled when a process first needs it, in a fraction of a second; no compiler has to be installed. It is for
planes as :mod:`geosr.engine.winograd.planes` lays them out, and knows no more than that. No operation is left to the
optimizer to contract or reorder: processors with vectors of other widths make the same bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm

from geosr.engine import system
from geosr.engine.winograd.convolve import VECTORS, convolve
from geosr.engine.winograd.gather import gather
from geosr.engine.winograd.tasks import Gathering, Layer
from geosr.engine.winograd.writer import Writer

_TARGET_OPTIONS = {16: "-prefer-256-bit", 8: "-avx512f"}

#: ``(layer, first row of tiles, row of tiles to stop before, room for inputs, room for outputs)``.
_CONVOLVE = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(Layer), ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
)

#: ``(task, first row, row to stop before)``.
_GATHER = ctypes.CFUNCTYPE(None, ctypes.POINTER(Gathering), ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True)
class Code:
    """What was compiled. Other threads of Python run meanwhile."""

    lanes: int
    """Floats of a vector."""
    outputs: int
    """Planes made together: layers have a multiple of them."""
    convolve: Callable[..., None]
    """See :data:`_CONVOLVE`."""
    gather: Callable[..., None]
    """See :data:`_GATHER`."""
    owner: object
    """Keeps the code in memory."""

    @property
    def tiles(self) -> int:
        """Tiles that go through a layer together."""
        return VECTORS * self.lanes

    @property
    def step(self) -> int:
        """What the tiles in a row are a multiple of: half vectors."""
        return self.lanes // 2


@lru_cache(maxsize=1)
def compiled() -> Code:
    """The code for this processor, which has AVX2 at least (see :func:`geosr.engine.system.has_winograd`)."""
    lanes = 16 if "avx512f" in system.cpu_flags() else 8
    # As many sums as there are registers, but for what is read.
    outputs = 8 if lanes == 16 else 4
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_source(lanes, outputs))
    features = f"{llvm.get_host_cpu_features().flatten()},{_TARGET_OPTIONS[lanes]}"
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return Code(
        lanes,
        outputs,
        _CONVOLVE(engine.get_function_address("convolve")),
        _GATHER(engine.get_function_address("gather")),
        engine,
    )


def _source(lanes: int, outputs: int) -> str:
    """The module's text."""
    lines = ["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"]
    for length in (lanes, lanes // 2):
        vector = f"<{length} x float>"
        lines.append(f"declare {vector} @llvm.fma.v{length}f32({vector}, {vector}, {vector})")
    convolving, gathering = Writer(lanes), Writer(lanes)
    convolve(convolving, outputs)
    gather(gathering)
    for head, body in (
        ("@convolve(ptr %layer, i64 %first, i64 %stop, ptr %in, ptr %made)", convolving),
        ("@gather(ptr %task, i64 %first, i64 %stop)", gathering),
    ):
        lines += [f"define void {head} {{", "entry:", *body.lines, "  ret void", "}"]
    return "\n".join(lines)
