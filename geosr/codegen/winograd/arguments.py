"""Arguments of the kernels, as structures that generated code shares with Python. Lengths and strides are in floats."""

from __future__ import annotations

import ctypes


class Conv3x3Arguments(ctypes.Structure):
    """A layer of 3 × 3 filters."""

    _fields_ = (
        # The first pixel of the region in the first plane, and where each input plane begins, counted from there. After
        # the last stands one more, which need not be one.
        ("x", ctypes.c_void_p),
        ("planes", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("filters", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        # Made is slope(x) where no base is given, base + gain slope(x) with one, and the same again with the second.
        ("base", ctypes.c_void_p),
        ("second_base", ctypes.c_void_p),
        # 1 in the columns of the region and 0 beyond.
        ("mask", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        # Tiles in a row, a multiple of half the vector's length, and rows of the region.
        ("tiles", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("slope", ctypes.c_double),
        ("gain", ctypes.c_double),
        ("second_gain", ctypes.c_double),
    )


class SparseConvArguments(ctypes.Structure):
    """A convolution with filters that are mostly zero, as lists of what is not."""

    _fields_ = (
        # The first pixel of the region in the first plane, of what is read, made, and added to.
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("base", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        # (outputs, taps), and how far from its own place each reads, (outputs, phases, taps).
        ("weights", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("taps", ctypes.c_int64),
        ("plane_stride", ctypes.c_int64),
        # Of what is made, which may be a few rows.
        ("out_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("tiles", ctypes.c_int64),
    )


class BackprojectionArguments(ctypes.Structure):
    """What the sensor sees of an interpolated plane, taken away from another, some times one after another."""

    _fields_ = (
        # The first pixel of the region in the planes of each step: of what is seen, of what that is taken away from, of
        # what is added to that, or null; of what the result is multiplied by before it is added to what is seen, or
        # null; and of what is made.
        ("places", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
        ("mask", ctypes.c_void_p),
        # Weights along the rows, and across them with the sign changed.
        ("along", ctypes.c_void_p),
        ("across", ctypes.c_void_p),
        # How far a row's last pixel is from its first, and those beyond it.
        ("right", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("tiles", ctypes.c_int64),
        ("rows", ctypes.c_int64),
    )


class DeinterleaveArguments(ctypes.Structure):
    """An image out of planes."""

    _fields_ = (
        # What is the image's first pixel in the first plane, and the first pixel there.
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        # How far from it its neighbours on the right are, up to the one with which the next tile begins.
        ("phases", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
    )
