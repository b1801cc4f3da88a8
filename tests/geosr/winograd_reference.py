"""The Winograd engine's kernels in NumPy: the same operations in the same order, hence the same bits.

They work on images ``(channels, rows, cols)`` of float32; the polyphase layout is not seen here. Whatever is not a
fused multiply-add is one float32 operation of NumPy, which IEEE 754 rounds as the processor does.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from geosr.model.kernels import STEP_REACH


def fused_multiply_add(left, right, addend):
    """``left * right + addend`` of float32, rounded once.

    The product of two float32 is exact in float64 (24 + 24 <= 53 bits). The sum is not, and to round it to float64 and
    then to float32 may round the wrong way. So the sum is rounded to odd: where it is inexact, its last bit is made 1.
    Two bits or more beyond those of float32, that tells the second rounding on which side of a tie the exact sum lies
    (Boldo and Melquiond, *Emulation of a FMA and Correctly Rounded Sums*, 2008).
    """
    product = np.multiply(left, right, dtype=np.float64)
    addend = np.broadcast_to(np.asarray(addend, np.float64), product.shape)
    total = product + addend
    # The sum's error, exactly (Knuth's TwoSum).
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits % 2 == 0), bits + away, bits)
    return odd.view(np.float64).astype(np.float32)


def convolve(image, filters, bias, *, slope=1.0, bases=()):
    """A 3 × 3 layer: ``filters`` are transformed, ``(36, outputs, inputs)``; ``bases`` are pairs of image and gain."""
    _, rows, cols = image.shape
    below, beside = -rows % 4, -cols % 4
    padded = np.pad(image, ((0, 0), (1, 1 + below), (1, 1 + beside)))
    # (input, row of tiles, column of tiles, row, column), then (row, column, ...).
    tiles = sliding_window_view(padded, (6, 6), axis=(1, 2))[:, ::4, ::4].transpose(3, 4, 0, 1, 2)
    along = np.stack([np.stack(_to_products(row)) for row in tiles])
    products = np.stack(_to_products(along)).reshape(36, *along.shape[2:])
    sums = np.zeros((36, len(bias), *products.shape[2:]), np.float32)
    for channel in range(len(image)):
        sums = fused_multiply_add(filters[:, :, channel, None, None], products[:, None, channel], sums)
    sums = sums.reshape(6, 6, *sums.shape[1:])
    # (row of six, column, ...) to (row, column of six, ...), and then to four of both.
    columns = np.stack(_to_pixels(sums))
    pixels = np.stack([np.stack(_to_pixels(row)) for row in columns])
    made = pixels.transpose(2, 3, 0, 4, 1).reshape(len(bias), rows + below, cols + beside)[:, :rows, :cols]
    made = made + bias[:, None, None]
    scaled = made * np.float32(slope)
    made = np.where(made > scaled, made, scaled)
    for base, gain in bases:
        made = fused_multiply_add(np.float32(gain), made, base)
    return made


def _to_products(pixels):
    d0, d1, d2, d3, d4, d5 = pixels
    even, odd = fused_multiply_add(np.float32(-4), d2, d4), fused_multiply_add(np.float32(-4), d1, d3)
    far, across = d4 - d2, d3 - d1
    return [
        fused_multiply_add(np.float32(4), d0, fused_multiply_add(np.float32(-5), d2, d4)),
        even + odd,
        even - odd,
        fused_multiply_add(np.float32(2), across, far),
        fused_multiply_add(np.float32(-2), across, far),
        fused_multiply_add(np.float32(4), d1, fused_multiply_add(np.float32(-5), d3, d5)),
    ]


def _to_pixels(products):
    m0, m1, m2, m3, m4, m5 = products
    near, across, far, beyond = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return [
        (m0 + near) + far,
        fused_multiply_add(np.float32(2), beyond, across),
        fused_multiply_add(np.float32(4), far, near),
        fused_multiply_add(np.float32(8), beyond, across) + m5,
    ]


def gather(image, filters, base=None):
    """A sparse convolution: for each output its taps ``(channel, row, column, weight)``, relative to its own place.

    Beyond the image its edge repeats. Lists shorter than the longest end with taps of weight 0 on the first channel.
    """
    reach = max(max(abs(row), abs(col)) for taps in filters for _, row, col, _ in taps)
    _, rows, cols = image.shape
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    longest = max(map(len, filters))
    made = np.zeros((len(filters), rows, cols), np.float32) if base is None else base.copy()
    for output, taps in enumerate(filters):
        for channel, row, col, weight in [*taps, *[(0, 0, 0, 0.0)] * (longest - len(taps))]:
            there = padded[channel, reach + row :, reach + col :][:rows, :cols]
            made[output] = fused_multiply_add(np.float32(weight), there, made[output])
    return made


def backproject_step(seen, base, taps, *, second_base=None, known=None):
    """One step on ``(rows, cols)``: ``left = base + second base - filtered(seen)``, or ``seen + known * left``."""
    along = _filtered(seen, taps, np.zeros_like(seen))
    left = base if second_base is None else base + second_base
    left = _filtered(along.T, -taps, left.T).T
    return left if known is None else seen + left * known


def _filtered(image, taps, total):
    """Add what filters along the rows make; beyond the image its edge repeats."""
    wide = np.pad(image, ((0, 0), (STEP_REACH, STEP_REACH)), mode="edge")
    for tap, weight in enumerate(taps):
        total = fused_multiply_add(weight, wide[:, tap : tap + image.shape[1]], total)
    return total
