"""An image's phases to DN in one pass over its pixels, as code.

The same, to the bit, as :mod:`geosr.inference.upscaler` does with NumPy, which passes over them once for each step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.builder import Writer
from geosr.codegen.compiler import Compiled, Function, compile_functions, simd_width_here
from geosr.codegen.structs import fields
from tiling import nearest_non_nodata, nodata_as

#: How many times finer than the source an image is, and the phases that each of its bands has.
_SCALE = 4
_PHASES = _SCALE * _SCALE

#: Bytes of the integers that are made: those of nearly all sensors.
_BYTES = 2


class _Task(ctypes.Structure):
    """Lengths and strides are in floats and DN."""

    _fields_ = (
        ("phases", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        # Of each band: where its first phase is; what it is multiplied by, less, divided by; what it may not become,
        # and what it becomes instead.
        ("starts", ctypes.c_void_p),
        ("reference", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("nodata", ctypes.c_void_p),
        ("nearest_non_nodata", ctypes.c_void_p),
        ("bands", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        # From one band of the image that is made to the next.
        ("out_stride", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        ("lowest", ctypes.c_double),
        ("highest", ctypes.c_double),
    )


class QuantizeKernel:
    """``DN = (phases * reference - offset) / scale`` of some bands, rounded, held within their type, and not nodata."""

    def __init__(
        self,
        sources: Sequence[int],
        reference: NDArray[np.float32],
        offset: NDArray[np.float32],
        scale: NDArray[np.float32],
        dtype: np.dtype[np.integer],
        nodata: Sequence[float | None],
    ) -> None:
        """``sources`` are the bands of phases that become DN; the others have a value for each of those, in turn."""
        self._sources = tuple(sources)
        self._reference, self._offset, self._scale = map(np.ascontiguousarray, (reference, offset, scale))
        self._limits = np.iinfo(dtype)
        there = [nodata_as(one, dtype) for one in nodata]
        # Nothing equals what is none.
        self._nodata = np.asarray([np.nan if one is None else one for one in there], np.float32)
        self._nearest = np.asarray(
            [np.nan if one is None else nearest_non_nodata(one, dtype) for one in there], np.float32
        )
        # Kept: threads that compile at the same time make several, and but one of them lasts.
        self._code = _compiled()

    @staticmethod
    def makes(dtype: np.dtype[Any]) -> bool:
        """Whether it is for such DN: native integers of 16 bits."""
        return np.issubdtype(dtype, np.integer) and dtype.itemsize == _BYTES and dtype.isnative

    @staticmethod
    def accepts(phases: NDArray[np.float32]) -> bool:
        """Whether it is for such an image: wide enough, columns side by side."""
        wide = phases.shape[3] >= simd_width_here() and phases.strides[3] == phases.itemsize
        return wide and phases.shape[1] == _PHASES

    def __call__(self, phases: NDArray[np.float32], out: NDArray[np.integer]) -> None:
        """Make DN of ``(bands, 16, rows, cols)``: ``(bands, 4 rows, 4 cols)``, its rows one after another."""
        band, phase, row, _ = (stride // phases.itemsize for stride in phases.strides)
        starts = band * np.asarray(self._sources, np.int64)
        task = _Task(
            phases=phases.ctypes.data,
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
            rows=phases.shape[2],
            cols=phases.shape[3],
            lowest=self._limits.min,
            highest=self._limits.max,
        )
        self._code.functions["to_dn"](ctypes.byref(task))


@lru_cache(maxsize=1)
def _compiled() -> Compiled:
    return compile_functions({"to_dn": Function({"task": ctypes.POINTER(_Task)}, _to_dn)}, simd_width_here())


def _to_dn(write: Writer) -> None:
    """Band by band, row by row."""
    task = fields(write, _Task, "%task")
    wide = write.count("mul", task["cols"], _SCALE)
    last = write.count("sub", task["cols"], write.simd_width)

    def band(number: str, _: list[str]) -> tuple[()]:
        phases = write.at(task["phases"], write.item("i64", task["starts"], number))
        values = {
            name: write.spread(write.scalar(task[name], number))
            for name in ("reference", "offset", "scale", "nodata", "nearest_non_nodata")
        }
        image = write.count("mul", number, task["out_stride"])

        def row(number: str, _: list[str]) -> tuple[()]:
            source = write.at(phases, write.count("mul", number, task["row_stride"]))

            def line(line: str, _: list[str]) -> tuple[()]:
                first = write.count("mul", write.count("mul", line, _SCALE), task["phase_stride"])
                sources = [write.at(source, first)]
                while len(sources) < _SCALE:
                    sources.append(write.at(sources[-1], task["phase_stride"]))
                below = write.count("add", write.count("mul", number, _SCALE), line)
                target = write.count("add", image, write.count("mul", below, wide))

                def some(col: str, _: list[str]) -> tuple[()]:
                    # The last of a row are made together with some before them, once more.
                    here = write.either("sgt", col, last, col)
                    made = [_dn(write, task, write.load(write.at(one, here)), **values) for one in sources]
                    pixels = write.interleaved(made, "i16")
                    place = write.count("add", target, write.count("mul", here, _SCALE))
                    place = write.get(f"getelementptr i16, ptr {task['out']}, i64 {place}")
                    write.do(f"store <{_SCALE * write.simd_width} x i16> {pixels}, ptr {place}, align 2")
                    return ()

                write.loop(0, task["cols"], write.simd_width, some)
                return ()

            write.loop(0, _SCALE, 1, line)
            return ()

        write.loop(0, task["rows"], 1, row)
        return ()

    write.loop(0, task["bands"], 1, band)


def _dn(
    write: Writer,
    task: dict[str, str],
    value: str,
    *,
    reference: str,
    offset: str,
    scale: str,
    nodata: str,
    nearest_non_nodata: str,
) -> str:
    """A vector of DN, 16 bits each."""
    vector, simd_width = write.vector, write.simd_width
    value = write.get(f"fdiv {vector} {write.subtract(write.multiply(value, reference), offset)}, {scale}")
    value = write.get(f"call {vector} @llvm.rint.v{simd_width}f32({vector} {value})")
    value = write.smaller(write.larger(value, task["lowest"]), task["highest"])
    # Whole numbers of 16 bits are exact.
    value = write.replaced(value, nodata, nearest_non_nodata)
    whole = write.get(f"fptosi {vector} {value} to <{simd_width} x i32>")
    return write.get(f"trunc <{simd_width} x i32> {whole} to <{simd_width} x i16>")
