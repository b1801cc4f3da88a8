"""Shifts between two bands of one scene, by cross-correlation of tiles without their low frequencies.

Frequencies keep their strength: where tiles hold little but straight borders, equal weights would let noise decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geosr.evaluate.consistency import shift_between

_Pixels = NDArray[np.float64]

#: Side of a tile, pixels, steps per pixel in which shifts are found, and the longest that is no failure, pixels.
_TILE_PX, _STEPS_PER_PX, _LONGEST_PX = 64, 100, 2.0

#: Standard deviation of the Gaussian that is taken off, pixels.
_ROUGH_PX = 3.0

#: Tiles of which bands correlate less, disregarding the sign, show different things.
_ALIKE = 0.6


@dataclass(frozen=True)
class BandRegistration:
    """Shifts of one band against the first, pixels; NaN where no tile shows the same in both."""

    tiles: int
    dy_px: float
    dx_px: float
    """Median shift of its content, down and to the right."""
    median_px: float
    """Median length."""
    p95_px: float
    """95th percentile of the length."""


def measure_registration(band: _Pixels, reference: _Pixels, measured: NDArray[np.bool_]) -> BandRegistration:
    """Shifts of ``band`` against ``reference``, both ``(rows, cols)``, over all whole tiles that were measured."""
    shifts = []
    window = np.outer(np.hanning(_TILE_PX), np.hanning(_TILE_PX))
    for top in range(0, band.shape[0] - _TILE_PX + 1, _TILE_PX):
        for left in range(0, band.shape[1] - _TILE_PX + 1, _TILE_PX):
            where = (slice(top, top + _TILE_PX), slice(left, left + _TILE_PX))
            if not measured[where].all():
                continue
            ours, theirs = (_rough(one[where]) * window for one in (band, reference))
            scale = math.sqrt(float((ours**2).sum()) * float((theirs**2).sum()))
            if scale == 0 or float((ours * theirs).sum()) / scale < _ALIKE:
                continue
            shift = shift_between(theirs, ours, steps_per_px=_STEPS_PER_PX, normalization=None)
            if math.hypot(*shift) <= _LONGEST_PX:
                shifts.append(shift)
    if not shifts:
        return BandRegistration(0, *[math.nan] * 4)
    lengths = [math.hypot(*one) for one in shifts]
    dy, dx = (float(one) for one in np.median(np.array(shifts), axis=0))
    return BandRegistration(len(shifts), dy, dx, float(np.median(lengths)), float(np.percentile(lengths, 95)))


def _rough(tile: _Pixels) -> _Pixels:
    rough: _Pixels = tile - ndimage.gaussian_filter(tile, _ROUGH_PX)
    centred: _Pixels = rough - rough.mean()
    return centred
