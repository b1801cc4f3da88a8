"""What blocks of integers are made of, as code: differences side by side, and halves for overviews.

The same, to the bit, as :mod:`tiling` does with NumPy, which passes over the pixels once for each step.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.builder import Writer
from geosr.codegen.compiler import Compiled, Function, compile_functions, simd_width_here
from geosr.codegen.structs import fields
from tiling import nearest_non_nodata

#: Bands whose pixels are put side by side.
_BANDS = 4

_DTYPE = np.dtype(np.uint16)

#: What no pixel is.
_NONE = -1


class _Differences(ctypes.Structure):
    """Strides are in pixels."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("band_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        # A multiple of a vector's length.
        ("cols", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        # From one row of what is made to the next.
        ("out_stride", ctypes.c_int64),
    )


class _Halves(ctypes.Structure):
    """Of one band; strides are in pixels."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        # Rows and columns of what is made, at least as many columns as a vector has.
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        ("nodata", ctypes.c_int64),
        ("nearest_non_nodata", ctypes.c_int64),
        # 32 bits that say afterwards whether there was nodata.
        ("found", ctypes.c_void_p),
    )


class Blocks:
    """For 16 bits without a sign; of everything else it tells that it cannot."""

    def __init__(self) -> None:
        # Kept: threads that compile at the same time make several, and but one of them lasts.
        self._code = _compiled()

    def differences(self, pixels: NDArray[Any], out: NDArray[Any]) -> bool:
        """Of ``(bands, rows, cols)`` each pixel less the one before it in its row, into ``(rows, cols, bands)``.

        Returns whether it was done.
        """
        bands, rows, cols = pixels.shape
        sides_by_side = (
            pixels.strides[2] == out.strides[2] == _DTYPE.itemsize and out.strides[1] == bands * _DTYPE.itemsize
        )
        if bands != _BANDS or not pixels.dtype == out.dtype == _DTYPE or cols % simd_width_here() or not sides_by_side:
            return False
        band_stride, row_stride = (stride // _DTYPE.itemsize for stride in pixels.strides[:2])
        task = _Differences(
            pixels=pixels.ctypes.data,
            band_stride=band_stride,
            row_stride=row_stride,
            rows=rows,
            cols=cols,
            out=out.ctypes.data,
            out_stride=out.strides[0] // _DTYPE.itemsize,
        )
        self._code.functions["differences"](ctypes.byref(task))
        return True

    def halves(self, pixels: NDArray[Any], out: NDArray[Any], nodata: float | None) -> bool:
        """Means of 2 × 2 pixels of ``(rows, cols)``, both even, rounded half up; ``nodata`` is of their type.

        Returns whether it was done, which it is not where there is nodata among them.
        """
        there = pixels.strides[1] == out.strides[1] == _DTYPE.itemsize
        if not pixels.dtype == out.dtype == _DTYPE or out.shape[1] < simd_width_here() or not there:
            return False
        found = ctypes.c_int32(0)
        task = _Halves(
            pixels=pixels.ctypes.data,
            row_stride=pixels.strides[0] // _DTYPE.itemsize,
            out=out.ctypes.data,
            out_stride=out.strides[0] // _DTYPE.itemsize,
            rows=out.shape[0],
            cols=out.shape[1],
            nodata=_NONE if nodata is None else int(nodata),
            nearest_non_nodata=_NONE if nodata is None else int(nearest_non_nodata(nodata, _DTYPE)),
            found=ctypes.addressof(found),
        )
        self._code.functions["halves"](ctypes.byref(task))
        return not found.value


@lru_cache(maxsize=1)
def _compiled() -> Compiled:
    functions = {
        "differences": Function({"task": ctypes.POINTER(_Differences)}, _write_differences),
        "halves": Function({"task": ctypes.POINTER(_Halves)}, _write_halves),
    }
    return compile_functions(functions, simd_width_here())


def _write_differences(write: Writer) -> None:
    """Row by row, some pixels of all bands at a time."""
    task = fields(write, _Differences, "%task")
    vector = f"<{write.simd_width} x i16>"
    bands = [write.count("mul", task["band_stride"], band) for band in range(_BANDS)]

    def row(number: str, _: list[str]) -> tuple[()]:
        source = _at(write, task["pixels"], write.count("mul", number, task["row_stride"]))
        target = _at(write, task["out"], write.count("mul", number, task["out_stride"]))
        sources = [_at(write, source, band) for band in bands]

        def load(place: str) -> str:
            return write.get(f"load {vector}, ptr {place}, align 2")

        def put(made: list[str], col: str | int) -> None:
            place = _at(write, target, write.get(f"mul i64 {col}, {_BANDS}"))
            together = write.interleaved(made, "i16")
            write.do(f"store <{_BANDS * write.simd_width} x i16> {together}, ptr {place}, align 2")

        # Before the first pixel is nothing.
        order = ", ".join(f"i32 {element}" for element in (write.simd_width, *range(write.simd_width - 1)))
        first = [load(one) for one in sources]
        moved = [
            write.get(f"shufflevector {vector} {one}, {vector} zeroinitializer, <{write.simd_width} x i32> <{order}>")
            for one in first
        ]
        put([write.get(f"sub {vector} {one}, {before}") for one, before in zip(first, moved, strict=True)], 0)

        def some(col: str, _: list[str]) -> tuple[()]:
            here = [_at(write, one, col) for one in sources]
            made = [write.get(f"sub {vector} {load(one)}, {load(_at(write, one, -1))}") for one in here]
            put(made, col)
            return ()

        write.loop(write.simd_width, task["cols"], write.simd_width, some)
        return ()

    write.loop(0, task["rows"], 1, row)


def _write_halves(write: Writer) -> None:
    """Row by row; two pixels that lie side by side are one number of 32 bits."""
    task = fields(write, _Halves, "%task")
    simd_width, vector = write.simd_width, f"<{write.simd_width} x i32>"
    last = write.count("sub", task["cols"], simd_width)

    def spread(number: str) -> str:
        halves = write.get(f"trunc i64 {number} to i32")
        first = write.get(f"insertelement {vector} poison, i32 {halves}, i32 0")
        return write.get(f"shufflevector {vector} {first}, {vector} poison, {vector} zeroinitializer")

    nodata, instead = spread(task["nodata"]), spread(task["nearest_non_nodata"])
    low, half, two = (f"<{', '.join([f'i32 {number}'] * simd_width)}>" for number in (0xFFFF, 16, 2))

    def row(number: str, _: list[str]) -> tuple[()]:
        above = _at(write, task["pixels"], write.count("mul", number, write.count("mul", task["row_stride"], 2)))
        rows = [above, _at(write, above, task["row_stride"])]
        target = _at(write, task["out"], write.count("mul", number, task["out_stride"]))

        def some(col: str, carried: list[str]) -> list[str]:
            # The last of a row are made together with some before them, once more.
            here = write.either("sgt", col, last, col)
            pixels = []
            for one in rows:
                pair = write.get(f"load {vector}, ptr {_at(write, one, write.count('mul', here, 2))}, align 2")
                pixels += [write.get(f"and {vector} {pair}, {low}"), write.get(f"lshr {vector} {pair}, {half}")]
            total, found = two, write.get(f"bitcast <{simd_width} x float> {carried[0]} to {vector}")
            for one in pixels:
                total = write.get(f"add {vector} {total}, {one}")
                equal = write.get(f"icmp eq {vector} {one}, {nodata}")
                found = write.get(f"or {vector} {found}, {write.get(f'zext <{simd_width} x i1> {equal} to {vector}')}")
            mean = write.get(f"lshr {vector} {total}, {two}")
            # A mean of values on both sides of it may be nodata itself.
            equal = write.get(f"icmp eq {vector} {mean}, {nodata}")
            mean = write.get(f"select <{simd_width} x i1> {equal}, {vector} {instead}, {vector} {mean}")
            halves = write.get(f"trunc {vector} {mean} to <{simd_width} x i16>")
            write.do(f"store <{simd_width} x i16> {halves}, ptr {_at(write, target, here)}, align 2")
            return [write.get(f"bitcast {vector} {found} to <{simd_width} x float>")]

        found = write.loop(0, task["cols"], simd_width, some, ["zeroinitializer"])[0]
        whole = write.get(f"bitcast <{simd_width} x float> {found} to {vector}")
        any_here = write.get(f"call i32 @llvm.vector.reduce.or.v{simd_width}i32({vector} {whole})")
        before = write.get(f"load i32, ptr {task['found']}, align 4")
        write.do(f"store i32 {write.get(f'or i32 {before}, {any_here}')}, ptr {task['found']}, align 4")
        return ()

    write.loop(0, task["rows"], 1, row)


def _at(write: Writer, pointer: str, pixels: str | int) -> str:
    return write.get(f"getelementptr i16, ptr {pointer}, i64 {pixels}")
