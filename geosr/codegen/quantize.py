"""A kernel that converts an image's polyphase channels to DN in one pass over its pixels.

Its reference is ``ToDn`` of :mod:`geosr.inference.quantize`, which does the same with NumPy, one pass for each step, to
the same bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.builder import I16, I32, I64, Builder, Value
from geosr.codegen.compiler import Compiled, Kernel, compile_kernels, simd_width_here
from geosr.codegen.structs import load_fields
from tiling import nearest_non_nodata, nodata_as

#: Output pixels along a source pixel's side, and polyphase channels of each band: output pixels of a source pixel.
_SCALE = 4
_POLYPHASE = _SCALE * _SCALE

#: Bytes of a DN.
_BYTES = 2


class _Arguments(ctypes.Structure):
    """Lengths and strides are in elements: floats or DN."""

    _fields_ = (
        ("polyphase", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        # Offset of each output band's first phase, in floats.
        ("starts", ctypes.c_void_p),
        # One float for each output band, see _Constants.
        ("reference", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("nodata", ctypes.c_void_p),
        ("nearest_non_nodata", ctypes.c_void_p),
        ("bands", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        # From one output band to the next.
        ("out_stride", ctypes.c_int64),
        # Of the source.
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        # Limits of the DN's type.
        ("lowest", ctypes.c_double),
        ("highest", ctypes.c_double),
    )


@dataclass(frozen=True)
class _Constants:
    """A band's constants, each a vector: DN are ``(polyphase * reference - offset) / scale``, and not ``nodata``."""

    reference: Value
    offset: Value
    scale: Value
    nodata: Value
    nearest_non_nodata: Value


class QuantizeKernel:
    """``DN = (polyphase * reference - offset) / scale``, rounded, held within their type, and not nodata."""

    def __init__(
        self,
        sources: Sequence[int],
        reference: NDArray[np.float32],
        offset: NDArray[np.float32],
        scale: NDArray[np.float32],
        dtype: np.dtype[np.integer],
        nodata: Sequence[float | None],
    ) -> None:
        """``sources`` are the bands of the image that become DN; the others have one value for each output band."""
        self._sources = tuple(sources)
        self._reference, self._offset, self._scale = map(np.ascontiguousarray, (reference, offset, scale))
        self._limits = np.iinfo(dtype)
        there = [nodata_as(one, dtype) for one in nodata]
        # NaN equals no value.
        self._nodata = np.asarray([np.nan if one is None else one for one in there], np.float32)
        self._nearest = np.asarray(
            [np.nan if one is None else nearest_non_nodata(one, dtype) for one in there], np.float32
        )
        # Threads that compile at the same time get several copies, of which the cache keeps one: hold on to this one.
        self._code = _compiled(simd_width_here())

    @staticmethod
    def makes(dtype: np.dtype[Any]) -> bool:
        """Return True for integers of 16 bits in native byte order."""
        return np.issubdtype(dtype, np.integer) and dtype.itemsize == _BYTES and dtype.isnative

    @staticmethod
    def accepts(polyphase: NDArray[np.float32]) -> bool:
        """Return True for images at least a vector wide whose columns are contiguous."""
        wide = polyphase.shape[3] >= simd_width_here() and polyphase.strides[3] == polyphase.itemsize
        return wide and polyphase.shape[1] == _POLYPHASE

    def __call__(self, polyphase: NDArray[np.float32], out: NDArray[np.integer]) -> None:
        """Convert ``(bands, 16, rows, cols)`` into ``out``, ``(bands, 4 rows, 4 cols)`` with contiguous rows."""
        band, phase, row, _ = (stride // polyphase.itemsize for stride in polyphase.strides)
        starts = band * np.asarray(self._sources, np.int64)
        arguments = _Arguments(
            polyphase=polyphase.ctypes.data,
            out=out.ctypes.data,
            starts=starts.ctypes.data,
            reference=self._reference.ctypes.data,
            offset=self._offset.ctypes.data,
            scale=self._scale.ctypes.data,
            nodata=self._nodata.ctypes.data,
            nearest_non_nodata=self._nearest.ctypes.data,
            bands=len(starts),
            phase_stride=phase,
            row_stride=row,
            out_stride=out.strides[0] // out.itemsize,
            rows=polyphase.shape[2],
            cols=polyphase.shape[3],
            lowest=self._limits.min,
            highest=self._limits.max,
        )
        self._code.functions["to_dn"](ctypes.byref(arguments))


@lru_cache
def _compiled(simd_width: int) -> Compiled:
    return compile_kernels({"to_dn": Kernel({"task": ctypes.POINTER(_Arguments)}, _write_to_dn)}, simd_width)


def _write_to_dn(build: Builder, task: Value) -> None:
    """Loop over bands, rows, rows of a block, and vectors of source pixels."""
    arguments = load_fields(build, _Arguments, task)
    out_cols = build.multiply(arguments.cols, _SCALE)
    last = build.subtract(arguments.cols, build.simd_width)
    with build.loop(0, arguments.bands) as band:
        polyphase = build.at(arguments.polyphase, build.load(arguments.starts, band.index, I64))
        constants = _Constants(
            *(build.splat(build.load(getattr(arguments, field.name), band.index)) for field in fields(_Constants))
        )
        image = build.multiply(band.index, arguments.out_stride)
        with build.loop(0, arguments.rows) as row:
            source = build.at(polyphase, build.multiply(row.index, arguments.row_stride))
            with build.loop(0, _SCALE) as line:
                first = build.multiply(build.multiply(line.index, _SCALE), arguments.phase_stride)
                sources = [build.at(source, first)]
                while len(sources) < _SCALE:
                    sources.append(build.at(sources[-1], arguments.phase_stride))
                out_row = build.add(build.multiply(row.index, _SCALE), line.index)
                target = build.add(image, build.multiply(out_row, out_cols))
                with build.loop(0, arguments.cols, build.simd_width) as col:
                    # The last vector of a row overlaps the one before it.
                    here = build.minimum(col.index, last)
                    dn = [_dn(build, arguments, constants, build.load_vector(build.at(one, here))) for one in sources]
                    place = build.add(target, build.multiply(here, _SCALE))
                    build.store(build.interleave(dn), build.at(arguments.out, place, I16))


def _dn(build: Builder, arguments: SimpleNamespace, constants: _Constants, polyphase: Value) -> Value:
    """Vector of DN, 16 bits each."""
    reflectance = build.multiply(polyphase, constants.reference)
    value = build.ir.fdiv(build.subtract(reflectance, constants.offset), constants.scale)
    value = build.intrinsic("llvm.rint", value.type, [value])
    value = build.minimum(build.maximum(value, arguments.lowest), arguments.highest)
    # float32 holds every integer of 16 bits exactly.
    value = build.where(build.compare("==", value, constants.nodata), constants.nearest_non_nodata, value)
    whole = build.ir.fptosi(value, build.vector_type(I32))
    return build.ir.trunc(whole, build.vector_type(I16))
