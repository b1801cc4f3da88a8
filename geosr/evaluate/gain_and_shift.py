"""Errors that :mod:`geosr.evaluate.correctness` removes and so cannot see: wrong gain, offset and place.

Images are reflectance ``(bands, rows, cols)`` of one size. Nothing here reads georeferencing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geosr.evaluate.consistency import ImageShift, shift_between

#: Shifts are found in steps of 1/100 pixel.
_STEPS_PER_PX = 100


class RadiometricErrors(NamedTuple):
    """One band as a line through its truth: ``gain * truth + bias``."""

    gain: float
    """1 is right."""
    bias: float
    """Reflectance; 0 is right."""


def gain_and_bias(sr: Tensor, hr: Tensor) -> list[RadiometricErrors]:
    """The line through each band's pixels, by least squares.

    Detail that ``sr`` lacks lowers the gain: compare both as the sensor observes them, and little of that is left.
    """
    lines = []
    for band, truth in zip(sr.double().flatten(1), hr.double().flatten(1), strict=True):
        spread = truth - truth.mean()
        gain = float((spread * band).sum() / spread.square().sum())
        lines.append(RadiometricErrors(gain, float(band.mean()) - gain * float(truth.mean())))
    return lines


def registration_shift_px(sr: Tensor, hr: Tensor) -> ImageShift:
    """Shift of the content of ``sr`` relative to ``hr``, pixels of these images.

    By cross-correlation of the means over bands after a Hann window. Frequencies keep their strength: a smooth image
    lacks the truth's high ones, and equal weights would let what noise stands there hide its shift.
    """
    return shift_between(_windowed(hr), _windowed(sr), steps_per_px=_STEPS_PER_PX, normalization=None)


def _windowed(image: Tensor) -> NDArray[np.float64]:
    """The mean over bands, without its own mean, that ends in zeros: edges are no content."""
    grey = image.double().mean(dim=0)
    rows, cols = grey.shape
    window = np.hanning(rows)[:, None] * np.hanning(cols)
    faded: NDArray[np.float64] = (grey - grey.mean()).numpy() * window
    return faded
