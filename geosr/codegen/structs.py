"""What code is told, as structures that it shares with Python."""

from __future__ import annotations

import ctypes

from geosr.codegen.builder import Writer

_KINDS = {ctypes.c_void_p: "ptr", ctypes.c_int64: "i64", ctypes.c_double: "double"}


def fields(write: Writer, structure: type[ctypes.Structure], pointer: str) -> dict[str, str]:
    """The values of a structure's fields of eight bytes each: pointers, integers, or vectors of a number."""
    kinds = [(field[0], _KINDS[field[1]]) for field in structure._fields_]
    return {name: write.item(kind, pointer, number) for number, (name, kind) in enumerate(kinds)}
