"""Arguments of the kernels, as structures that generated code shares with Python.

Lengths and strides are in floats. The layout of channels in memory is drawn in ``geosr/codegen/README.md``.
"""

from __future__ import annotations

import ctypes


class Conv3x3Arguments(ctypes.Structure):
    """Arguments of a 3 × 3 layer: ``y = slope(conv(x) + bias)``, then ``base + gain y``, then the second base."""

    _fields_ = (
        # The region's first pixel in the first input channel, and the offset of each input channel from that. One more
        # offset follows the last; it need not be a channel's.
        ("source", ctypes.c_void_p),
        ("channel_offsets", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        # (products, outputs / outputs at once, inputs, outputs at once), transformed; and (outputs,).
        ("filters", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        # Null where nothing is added.
        ("base", ctypes.c_void_p),
        ("second_base", ctypes.c_void_p),
        # 1 in the columns of the region and 0 elsewhere, for one row.
        ("mask", ctypes.c_void_p),
        ("channel_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        # Tiles in a row, a multiple of half the SIMD width, and rows of the region.
        ("tiles", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("slope", ctypes.c_double),
        ("gain", ctypes.c_double),
        ("second_gain", ctypes.c_double),
    )


class SparseConvArguments(ctypes.Structure):
    """Arguments of a convolution whose filters are lists of taps."""

    _fields_ = (
        # The region's first pixel in the first channel of each; the base may be null.
        ("source", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("base", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        # (outputs, taps), and the offsets of what they weigh from the output's own place, (outputs, TILE_PX, taps).
        ("weights", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("taps", ctypes.c_int64),
        ("channel_stride", ctypes.c_int64),
        # Between output channels, which may hold fewer rows.
        ("out_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("tiles", ctypes.c_int64),
    )


class BackprojectionArguments(ctypes.Structure):
    """Arguments of consecutive back-projection steps on one band, see :mod:`geosr.codegen.winograd.backprojection`."""

    _fields_ = (
        # (steps, 5): the region's first pixel in the channels of each step, see `Channels`; some may be null.
        ("channels", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
        ("mask", ctypes.c_void_p),
        # Weights along the rows, and across them with the opposite sign.
        ("along", ctypes.c_void_p),
        ("across", ctypes.c_void_p),
        # Offsets of a row's last pixel and of those beyond it from its first.
        ("right", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        ("tiles", ctypes.c_int64),
        ("rows", ctypes.c_int64),
    )


class DeinterleaveArguments(ctypes.Structure):
    """Arguments of the copy from channels to an image."""

    _fields_ = (
        # The image's first pixel in the first channel, and in the image.
        ("source", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        # Offsets of that pixel and its three neighbours on the right from itself.
        ("pixel_offsets", ctypes.c_void_p),
        ("channel_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
    )
