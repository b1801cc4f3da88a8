"""Compiles kernels for the processor that runs them, in a fraction of a second and without an installed compiler.

The optimizer may not contract or reorder floating-point operations: vectors of every width give the same bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from geosr import hardware
from geosr.codegen.builder import I64, POINTER, Builder

_TARGET_OPTIONS = {16: "-prefer-256-bit", 8: "-avx512f"}


@dataclass(frozen=True)
class Kernel:
    """A function to compile."""

    parameters: Mapping[str, type[Any]]
    """Types of :mod:`ctypes`, of pointers or 64-bit integers, by name."""
    write: Callable[..., None]
    """``write(builder, **arguments)`` appends the function's instructions; each argument is a value."""


@dataclass(frozen=True)
class Compiled:
    """Compiled functions, by name. They release Python's global lock while they run."""

    functions: Mapping[str, Callable[..., None]]
    owner: object
    """Keeps the code in memory."""


def simd_width_here() -> int:
    """Floats in a vector of this processor, which has AVX2 at least (see :func:`geosr.hardware.has_native`)."""
    return 16 if "avx512f" in hardware.cpu_flags() else 8


def compile_kernels(kernels: Mapping[str, Kernel], simd_width: int) -> Compiled:
    """Compile kernels for vectors of ``simd_width`` floats, 8 or 16."""
    module, machine = optimized(kernels, simd_width)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    functions = {
        name: ctypes.CFUNCTYPE(None, *kernel.parameters.values())(engine.get_function_address(name))
        for name, kernel in kernels.items()
    }
    return Compiled(functions, engine)


def optimized(kernels: Mapping[str, Kernel], simd_width: int) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """Kernels as an optimized module, and the machine that makes code of it: ``machine.emit_assembly(module)``."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(str(_module(kernels, simd_width)))
    features = f"{llvm.get_host_cpu_features().flatten()},{_TARGET_OPTIONS[simd_width]}"
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    return module, machine


def _module(kernels: Mapping[str, Kernel], simd_width: int) -> ir.Module:
    module = ir.Module()
    for name, kernel in kernels.items():
        types = [I64 if kind is ctypes.c_int64 else POINTER for kind in kernel.parameters.values()]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        builder = Builder(function, simd_width)
        kernel.write(builder, **dict(zip(kernel.parameters, function.args, strict=True)))
        builder.ir.ret_void()
    return module
