"""Compiles code for the processor that it runs on, in a fraction of a second; no compiler has to be installed.

No operation is left to the optimizer to contract or reorder: processors with vectors of other widths make the same
bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from geosr import hardware
from geosr.codegen.builder import Writer

_TARGET_OPTIONS = {16: "-prefer-256-bit", 8: "-avx512f"}


@dataclass(frozen=True)
class Function:
    """A function to compile."""

    arguments: Mapping[str, type[Any]]
    """Types of :mod:`ctypes`, of pointers or 64-bit integers, by name; what is written knows them as ``%name``."""
    write: Callable[[Writer], None]


@dataclass(frozen=True)
class Compiled:
    """Compiled functions, by name. Other threads of Python run while one does."""

    functions: Mapping[str, Callable[..., None]]
    owner: object
    """Keeps the code in memory."""


def simd_width_here() -> int:
    """Floats in a vector of this processor, which has AVX2 at least (see :func:`geosr.hardware.has_native`)."""
    return 16 if "avx512f" in hardware.cpu_flags() else 8


def compile_functions(functions: Mapping[str, Function], simd_width: int) -> Compiled:
    """Compile functions, by name, for vectors of so many floats."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_source(functions, simd_width))
    features = f"{llvm.get_host_cpu_features().flatten()},{_TARGET_OPTIONS[simd_width]}"
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    made = {
        name: ctypes.CFUNCTYPE(None, *function.arguments.values())(engine.get_function_address(name))
        for name, function in functions.items()
    }
    return Compiled(made, engine)


def _source(functions: Mapping[str, Function], simd_width: int) -> str:
    """A module's text."""
    lines = ["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"]
    for length in (simd_width, simd_width // 2):
        vector = f"<{length} x float>"
        lines += [
            f"declare {vector} @llvm.fma.v{length}f32({vector}, {vector}, {vector})",
            f"declare {vector} @llvm.rint.v{length}f32({vector})",
            f"declare i32 @llvm.vector.reduce.or.v{length}i32(<{length} x i32>)",
        ]
    for name, function in functions.items():
        arguments = ", ".join(
            f"{'i64' if kind is ctypes.c_int64 else 'ptr'} %{argument}" for argument, kind in function.arguments.items()
        )
        writer = Writer(simd_width)
        function.write(writer)
        lines += [f"define void @{name}({arguments}) {{", "entry:", *writer.lines, "  ret void", "}"]
    return "\n".join(lines)
