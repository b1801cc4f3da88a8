"""The sensor under a shift: what another date, a fraction of a pixel away, would record of an image.

A shift moves the centre of the sensor's Gaussian; where it
varies slowly over a scene, the first term of its Taylor series follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Whole source pixels that the shifted Gaussian reaches: 3.8 standard deviations at the longest shift.
REACH_PX = 3

#: The longest shift, source pixels.
LONGEST_PX = 1.5

#: How far a date's shift may be from its mean over the scene, source pixels, for the Taylor series to hold.
LARGEST_DEPARTURE_PX = 0.2

#: Departures below this, source pixels, are errors of the shifts, and are not looked at.
LEAST_DEPARTURE_PX = 0.02

#: Standard deviations of the product of two Gaussians beyond which it is left out.
_GRAM_SIGMAS = 3.0

#: Rows or columns of source pixels that are observed at a time.
_STRIP = 32

Shift = tuple[float, float]
Pixels = NDArray[np.float32]


class ShiftedSensor:
    """Observation with one shift, and its adjoint."""

    def __init__(self, sigmas_px: Sequence[float], scale: int, shift_px: Shift) -> None:
        """``sigmas_px`` is the blur of each band in fine pixels, ``shift_px`` (rows, cols) in source pixels.

        Source pixel ``p`` of this date shows what is at ``p + shift_px`` in the image.
        """
        self._scale = scale
        self._down, self._across = (_taps(sigmas_px, scale, one) for one in shift_px)

    def observe(self, image: Pixels, departure_px: Pixels | None = None) -> Pixels:
        """Blur and sample ``(bands, scale rows, scale cols)`` as this date does: ``(bands, rows, cols)``.

        ``departure_px`` is ``(2, rows, cols)``, what the shift of each pixel has beyond ``shift_px``. Beyond the image
        its edge repeats.
        """
        pad = self._scale * REACH_PX
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
        down, across = self._down, self._across
        narrow = self._along_rows(padded, down.taps)
        seen = self._along_cols(narrow, across.taps)
        if departure_px is not None:
            seen += departure_px[0] * self._along_cols(self._along_rows(padded, down.slope), across.taps)
            seen += departure_px[1] * self._along_cols(narrow, across.slope)
        return seen

    def spread(self, values: Pixels, departure_px: Pixels | None = None) -> Pixels:
        """The adjoint: ``(bands, rows, cols)`` to the image that each value is seen in."""
        down, across = self._down, self._across
        values = np.asarray(values, dtype=np.float32)
        wide = self._into_cols(values, across.taps)
        if departure_px is not None:
            wide += self._into_cols(values * departure_px[1], across.slope)
        image = self._into_rows(wide, down.taps)
        if departure_px is not None:
            image += self._into_rows(self._into_cols(values * departure_px[0], across.taps), down.slope)
        return image

    def _into_rows(self, values: Pixels, taps: Pixels) -> Pixels:
        """The adjoint of :meth:`_along_rows`."""
        scale, rows = self._scale, values.shape[1]
        padded = np.pad(values, ((0, 0), (REACH_PX, REACH_PX), (0, 0)))
        result = np.empty((len(values), scale * rows, values.shape[2]), dtype=np.float32)
        for top in range(0, rows, _STRIP):
            bottom = min(top + _STRIP, rows)
            matrix = _spread_matrix(taps, bottom - top, scale).transpose(0, 2, 1)
            np.matmul(matrix, padded[:, top : bottom + 2 * REACH_PX], out=result[:, scale * top : scale * bottom])
        return result

    def _into_cols(self, values: Pixels, taps: Pixels) -> Pixels:
        scale, cols = self._scale, values.shape[2]
        padded = np.pad(values, ((0, 0), (0, 0), (REACH_PX, REACH_PX)))
        result = np.empty((*values.shape[:2], scale * cols), dtype=np.float32)
        for left in range(0, cols, _STRIP):
            right = min(left + _STRIP, cols)
            matrix = _spread_matrix(taps, right - left, scale)
            result[..., scale * left : scale * right] = padded[..., left : right + 2 * REACH_PX] @ matrix
        return result

    def _along_rows(self, padded: Pixels, taps: Pixels) -> Pixels:
        """Blur and sample the rows of an image with a margin, some at a time: most of the matrix is 0."""
        scale, rows = self._scale, padded.shape[1] // self._scale - 2 * REACH_PX
        result = np.empty((len(padded), rows, padded.shape[2]), dtype=np.float32)
        for top in range(0, rows, _STRIP):
            bottom = min(top + _STRIP, rows)
            matrix = _band_matrix(taps, bottom - top, scale)
            np.matmul(matrix, padded[:, scale * top : scale * (bottom + 2 * REACH_PX)], out=result[:, top:bottom])
        return result

    def _along_cols(self, padded: Pixels, taps: Pixels) -> Pixels:
        scale, cols = self._scale, padded.shape[2] // self._scale - 2 * REACH_PX
        result = np.empty((*padded.shape[:2], cols), dtype=np.float32)
        for left in range(0, cols, _STRIP):
            right = min(left + _STRIP, cols)
            matrix = _band_matrix(taps, right - left, scale).transpose(0, 2, 1)
            result[..., left:right] = padded[..., scale * left : scale * (right + 2 * REACH_PX)] @ matrix
        return result


def gram_kernel(sigmas_px: Sequence[float], scale: int, shifts_px: Sequence[Shift]) -> Tensor:
    """Overlap of each date's pixels with those of each other: ``observe`` of one after ``spread`` of another.

    Returns weights of a convolution in groups of bands, ``(bands * dates, dates, side, side)``; channels are in the
    order of bands, then dates.
    """
    shifts = np.asarray(shifts_px, dtype=np.float64)
    widest = float(np.ptp(shifts, axis=0).max()) if len(shifts) > 1 else 0.0
    sigmas = np.asarray(sigmas_px, dtype=np.float64) / scale
    reach = int(np.ceil(widest + _GRAM_SIGMAS * np.sqrt(2) * sigmas.max()))
    places = np.arange(-reach, reach + 1)
    apart = shifts[:, None, :] - shifts[None, :, :]
    # (bands, dates, dates, axes, places)
    distance = places - apart[None, ..., None]
    spread = sigmas[:, None, None, None, None]
    along = np.exp(-((distance / (2 * spread)) ** 2)) / (2 * spread * np.sqrt(np.pi) * scale)
    kernel = along[:, :, :, 0, :, None] * along[:, :, :, 1, None, :]
    bands, dates = kernel.shape[:2]
    return torch.from_numpy(kernel.reshape(bands * dates, dates, *kernel.shape[3:]).astype(np.float32))


@dataclass(frozen=True)
class _Axis:
    """The shifted Gaussian along one axis, ``(bands, taps)``, and its slope over the shift."""

    taps: Pixels
    slope: Pixels


def _taps(sigmas_px: Sequence[float], scale: int, shift_px: float) -> _Axis:
    sigma = np.asarray(sigmas_px, dtype=np.float64)[:, None]
    count = scale * (1 + 2 * REACH_PX)
    offsets = np.arange(count) - (count - 1) / 2 - scale * shift_px
    taps = np.exp(-0.5 * (offsets / sigma) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    slope = taps * offsets * scale / sigma**2
    slope -= taps * slope.sum(axis=1, keepdims=True)
    return _Axis(taps.astype(np.float32), slope.astype(np.float32))


def _band_matrix(taps: Pixels, count: int, scale: int) -> Pixels:
    """The matrix ``(bands, count, scale (count + 2 reach))`` that blurs and samples one axis."""
    matrix = np.zeros((len(taps), count, scale * (count + 2 * REACH_PX)), dtype=np.float32)
    for row in range(count):
        matrix[:, row, scale * row : scale * row + taps.shape[1]] = taps
    return matrix


def _spread_matrix(taps: Pixels, count: int, scale: int) -> Pixels:
    """The matrix ``(bands, count + 2 reach, scale count)`` from source pixels to the fine ones that show them."""
    wider = _band_matrix(taps, count + 2 * REACH_PX, scale)
    return wider[:, :, 2 * REACH_PX * scale : (2 * REACH_PX + count) * scale]
