"""Fits that a minority of pixels cannot spoil: clouds that nobody masked, and ground that has changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Tukey's constant: 95 % efficient where the noise is normal.
_TUKEY = 4.685

#: Median absolute deviation to standard deviation, of normal noise.
_MAD = 1.4826

#: Rounds of reweighting.
_ROUNDS = 12

#: Noise below this is none, reflectance.
_LEAST_NOISE = 1e-5


def biweights(residual: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Tukey's biweight of each residual, and the noise (standard deviation) that it is judged by."""
    noise = max(_MAD * float(np.median(np.abs(residual))), _LEAST_NOISE)
    weights: NDArray[np.float64] = np.maximum(0.0, 1 - (residual / (_TUKEY * noise)) ** 2) ** 2
    return weights, noise


def fit_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset of ``y`` over ``x`` by least squares: least absolute deviations first, then the biweight's."""
    weights = np.ones_like(x)
    gain, offset = 0.0, 0.0
    for turn in range(_ROUNDS):
        gain, offset = _line(x, y, weights)
        residual = y - gain * x - offset
        if turn < _ROUNDS // 2:
            weights = 1 / np.maximum(np.abs(residual), _LEAST_NOISE)
        else:
            weights, _ = biweights(residual)
    return gain, offset


def _line(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    total = float(weights.sum())
    if total <= 0:
        return 0.0, float(np.median(y))
    mean_x, mean_y = float((weights * x).sum()) / total, float((weights * y).sum()) / total
    spread = float((weights * (x - mean_x) ** 2).sum())
    gain = float((weights * (x - mean_x) * (y - mean_y)).sum()) / spread if spread > 0 else 0.0
    return gain, mean_y - gain * mean_x
