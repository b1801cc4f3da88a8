"""Blur of one band, from straight edges with flat sides that lie askew on the grid.

A Gaussian's integral is fitted across each edge; its standard deviation includes the ground's own softness. Edges on
the ground are never sharper than the sensor, so that the sensor's blur is where the distribution begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.special import ndtr

_Pixels = NDArray[np.float64]

#: Half the side of the window around an edge, pixels.
_HALF_PX = 5

#: How many of the strongest edges are looked at, and how far apart they lie, pixels.
_MOST_EDGES, _APART_PX = 1500, 4

#: Share of the gradient's power that lies along one direction.
_STRAIGHT = 0.9

#: Angles against the grid at which all subpixel positions are passed, degrees.
_ASKEW_DEG = (4.0, 41.0)

#: Root mean square misfit of an edge, as a share of its step, and the smallest step, reflectance and in the noise.
_MISFIT, _STEP, _STEP_IN_NOISE = 0.04, 0.03, 20.0

#: Fewer edges say little.
FEWEST_EDGES = 8


@dataclass(frozen=True)
class Blur:
    """Standard deviation of the Gaussian across edges, pixels; NaN where a scene has too few edges."""

    edges: int
    sharpest_px: float
    """5th percentile: nearest to the sensor's own blur."""
    sharp_px: float
    """25th percentile."""
    median_px: float
    deviation_px: float
    """Scatter between the 5th and the 25th percentile."""


def measure_blur(band: _Pixels, measured: NDArray[np.bool_], noise: float) -> Blur:
    """Blur of reflectance ``(rows, cols)`` with noise of this standard deviation, zero or NaN where that is unknown."""
    widths = [width for place in _candidates(band, measured) if (width := _width(band, place, noise)) is not None]
    if len(widths) < FEWEST_EDGES:
        return Blur(len(widths), *[float("nan")] * 4)
    fifth, quarter, median = (float(one) for one in np.percentile(widths, (5, 25, 50)))
    lowest = [one for one in widths if one <= quarter]
    return Blur(len(widths), fifth, quarter, median, float(np.std(lowest)))


def _candidates(band: _Pixels, measured: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Pixels at the ridge of the strongest gradients, the strongest first, none near what was not measured."""
    filled = np.where(measured, band, 0.0)
    strength = ndimage.gaussian_gradient_magnitude(filled, 1.0)
    strength[ndimage.binary_dilation(~measured, iterations=_HALF_PX + 2)] = 0
    rim = _HALF_PX + 1
    inside = np.zeros(band.shape, dtype=bool)
    inside[rim:-rim, rim:-rim] = True
    strength = np.where(inside, strength, 0)
    peaks = (strength == ndimage.maximum_filter(strength, 3)) & (strength > 0)
    places = np.argwhere(peaks)
    order = np.argsort(-strength[peaks])
    taken = np.zeros(band.shape, dtype=bool)
    found = 0
    for row, col in places[order]:
        if taken[row, col]:
            continue
        taken[max(row - _APART_PX, 0) : row + _APART_PX + 1, max(col - _APART_PX, 0) : col + _APART_PX + 1] = True
        yield int(row), int(col)
        found += 1
        if found == _MOST_EDGES:
            return


def _width(band: _Pixels, place: tuple[int, int], noise: float) -> float | None:
    """Standard deviation across the edge at a place; None where that is no straight, slanted edge with flat sides."""
    row, col = place
    window = band[row - _HALF_PX : row + _HALF_PX + 1, col - _HALF_PX : col + _HALF_PX + 1]
    down, across = np.gradient(window)
    matrix = np.array([[np.sum(across**2), np.sum(across * down)], [np.sum(across * down), np.sum(down**2)]])
    weak, strong = np.linalg.eigvalsh(matrix)
    if strong <= 0 or (strong - weak) / (strong + weak) < _STRAIGHT:
        return None
    angle = float(0.5 * np.arctan2(2 * matrix[0, 1], matrix[0, 0] - matrix[1, 1]))
    if not _askew(angle):
        return None
    y, x = np.mgrid[-_HALF_PX : _HALF_PX + 1, -_HALF_PX : _HALF_PX + 1].astype(np.float64)
    low, high = np.percentile(window, (10, 90))
    step = float(high - low)
    if step < max(_STEP, _STEP_IN_NOISE * (noise if np.isfinite(noise) else 0)):
        return None
    rising = float(np.sum((x * np.cos(angle) + y * np.sin(angle)) * (window - window.mean()))) > 0

    def misfit(values: _Pixels) -> _Pixels:
        dark, height, place_px, sigma, turn = values
        distance = x * np.cos(turn) + y * np.sin(turn) - place_px
        fitted: _Pixels = (dark + height * ndtr(distance / max(sigma, 0.05)) - window).ravel() / step
        return fitted

    start = [low if rising else high, step if rising else -step, 0.0, 0.6, angle]
    found = optimize.least_squares(misfit, start, method="lm", max_nfev=80)
    _, height, place_px, sigma, turn = found.x
    good = (
        found.success
        and np.sqrt(np.mean(found.fun**2)) * step < _MISFIT * abs(height)
        and abs(place_px) < 1.5
        and 0.2 < sigma < 2
        and _askew(turn)
    )
    return float(sigma) if good else None


def _askew(angle: float) -> bool:
    degrees = math.degrees(angle) % 90
    return _ASKEW_DEG[0] <= min(degrees, 90 - degrees) <= _ASKEW_DEG[1]
