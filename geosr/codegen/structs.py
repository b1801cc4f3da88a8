"""Arguments of kernels, as structures that generated code shares with Python."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

from geosr.codegen.builder import F32, F64, I64, POINTER, Builder, Value

_TYPES = {ctypes.c_void_p: POINTER, ctypes.c_int64: I64, ctypes.c_double: F64}


def load_fields(build: Builder, structure: type[ctypes.Structure], pointer: Value) -> SimpleNamespace:
    """Load all fields of a structure, eight bytes each.

    Returns
    -------
    SimpleNamespace
        A value for each field, by its name: pointers, 64-bit integers, and for each double a vector of it as floats.
    """
    loaded = SimpleNamespace()
    for number, (name, kind, *_) in enumerate(structure._fields_):
        value = build.load(pointer, number, _TYPES[kind])
        if value.type == F64:
            value = build.splat(build.ir.fptrunc(value, F32))
        setattr(loaded, name, value)
    return loaded
