"""Kernels for blocks of TIFF files: differences of neighbouring pixels, and halved images for overviews.

Their references are :mod:`tiling.encode` and :mod:`tiling.overviews`, which do the same with NumPy, one pass for each
step, to the same bits.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from geosr.codegen.builder import I16, I32, Builder, Value
from geosr.codegen.compiler import Compiled, Kernel, compile_kernels, simd_width_here
from geosr.codegen.structs import load_fields
from tiling import nearest_non_nodata

#: Bands that are interleaved.
_BANDS = 4

_DTYPE = np.dtype(np.uint16)

#: Equal to no pixel.
_NONE = -1


class _DifferencesArguments(ctypes.Structure):
    """Strides are in pixels."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("band_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        # A multiple of the SIMD width.
        ("cols", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        # From one output row to the next.
        ("out_stride", ctypes.c_int64),
    )


class _HalvesArguments(ctypes.Structure):
    """Arguments for one band; strides are in pixels."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        # Of the output; there are at least as many columns as a vector has elements.
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        ("nodata", ctypes.c_int64),
        ("nearest_non_nodata", ctypes.c_int64),
        # An integer of 32 bits that is set to 1 where a pixel is nodata.
        ("found", ctypes.c_void_p),
    )


class Blocks:
    """Encodes uint16; its methods return False for pixels that they do not support."""

    def __init__(self) -> None:
        # Threads that compile at the same time get several copies, of which the cache keeps one: hold on to this one.
        self._code = _compiled(simd_width_here())

    def differences(self, pixels: NDArray[Any], out: NDArray[Any]) -> bool:
        """Subtract from each pixel of ``(bands, rows, cols)`` the one before it in its row.

        ``out`` is ``(rows, cols, bands)``. Returns False, and leaves ``out`` as it is, where this is not supported.
        """
        bands, rows, cols = pixels.shape
        interleaved = (
            pixels.strides[2] == out.strides[2] == _DTYPE.itemsize and out.strides[1] == bands * _DTYPE.itemsize
        )
        if bands != _BANDS or not pixels.dtype == out.dtype == _DTYPE or cols % simd_width_here() or not interleaved:
            return False
        band_stride, row_stride = (stride // _DTYPE.itemsize for stride in pixels.strides[:2])
        arguments = _DifferencesArguments(
            pixels=pixels.ctypes.data,
            band_stride=band_stride,
            row_stride=row_stride,
            rows=rows,
            cols=cols,
            out=out.ctypes.data,
            out_stride=out.strides[0] // _DTYPE.itemsize,
        )
        self._code.functions["differences"](ctypes.byref(arguments))
        return True

    def halves(self, pixels: NDArray[Any], out: NDArray[Any], nodata: float | None) -> bool:
        """Average 2 × 2 pixels of ``(rows, cols)``, both even, rounding half up; ``nodata`` is of their type.

        Returns False where this is not supported or a pixel is nodata; ``out`` is then undefined.
        """
        contiguous = pixels.strides[1] == out.strides[1] == _DTYPE.itemsize
        if not pixels.dtype == out.dtype == _DTYPE or out.shape[1] < simd_width_here() or not contiguous:
            return False
        found = ctypes.c_int32(0)
        arguments = _HalvesArguments(
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
        self._code.functions["halves"](ctypes.byref(arguments))
        return not found.value


@lru_cache
def _compiled(simd_width: int) -> Compiled:
    kernels = {
        "differences": Kernel({"task": ctypes.POINTER(_DifferencesArguments)}, _write_differences),
        "halves": Kernel({"task": ctypes.POINTER(_HalvesArguments)}, _write_halves),
    }
    return compile_kernels(kernels, simd_width)


def _write_differences(build: Builder, task: Value) -> None:
    """Loop over rows and vectors of columns; each round stores the pixels of all bands."""
    arguments = load_fields(build, _DifferencesArguments, task)
    width = build.simd_width
    bands = [build.multiply(arguments.band_stride, band) for band in range(_BANDS)]
    with build.loop(0, arguments.rows) as row:
        source = build.at(arguments.pixels, build.multiply(row.index, arguments.row_stride), I16)
        target = build.at(arguments.out, build.multiply(row.index, arguments.out_stride), I16)
        sources = [build.at(source, band, I16) for band in bands]
        # The pixel before the first one counts as zero.
        first = [build.load_vector(one, element=I16) for one in sources]
        order = ir.Constant(build.vector_type(I32), [width, *range(width - 1)])
        shifted = [build.ir.shuffle_vector(one, build.zeros(element=I16), order) for one in first]
        less = [build.subtract(one, before) for one, before in zip(first, shifted, strict=True)]
        build.store(build.interleave(less), target)
        with build.loop(width, arguments.cols, width) as col:
            less = []
            for one in sources:
                here = build.at(one, col.index, I16)
                before = build.at(here, -1, I16)
                less.append(
                    build.subtract(build.load_vector(here, element=I16), build.load_vector(before, element=I16))
                )
            build.store(build.interleave(less), build.at(target, build.multiply(col.index, _BANDS), I16))


def _write_halves(build: Builder, task: Value) -> None:
    """Loop over output rows and vectors of columns; two pixels side by side are loaded as one integer of 32 bits."""
    arguments = load_fields(build, _HalvesArguments, task)
    vector = build.vector_type(I32)
    last = build.subtract(arguments.cols, build.simd_width)
    nodata, replacement = (
        build.splat(build.ir.trunc(one, I32)) for one in (arguments.nodata, arguments.nearest_non_nodata)
    )
    low, half, two = (vector([number] * build.simd_width) for number in (0xFFFF, 16, 2))
    with build.loop(0, arguments.rows) as row:
        two_rows = build.multiply(arguments.row_stride, 2)
        above = build.at(arguments.pixels, build.multiply(row.index, two_rows), I16)
        rows = [above, build.at(above, arguments.row_stride, I16)]
        target = build.at(arguments.out, build.multiply(row.index, arguments.out_stride), I16)
        with build.loop(0, arguments.cols, build.simd_width, [build.zeros(element=I32)]) as col:
            # The last vector of a row overlaps the one before it.
            here = build.minimum(col.index, last)
            pixels = []
            for one in rows:
                pair = build.at(one, build.multiply(here, 2), I16)
                pair = build.ir.load(pair, typ=vector, align=_DTYPE.itemsize)
                pixels += [build.ir.and_(pair, low), build.ir.lshr(pair, half)]
            total, found = two, col.values[0]
            for pixel in pixels:
                total = build.add(total, pixel)
                found = build.ir.or_(found, build.ir.zext(build.compare("==", pixel, nodata), vector))
            mean = build.ir.lshr(total, two)
            # The mean of values on both sides of nodata may be nodata.
            mean = build.where(build.compare("==", mean, nodata), replacement, mean)
            build.store(build.ir.trunc(mean, build.vector_type(I16)), build.at(target, here, I16))
            col.values = [found]
        found = build.intrinsic("llvm.vector.reduce.or", I32, col.values)
        before = build.load(arguments.found, 0, I32)
        build.store(build.ir.or_(before, found), arguments.found)
