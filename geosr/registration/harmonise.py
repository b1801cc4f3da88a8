"""Brings HR to LR's radiometry: a gain and an offset per band, fitted between LR and the *observed* HR.

What the blur takes out of the HR must not be mistaken for a gain, so HR is seen through the LR sensor first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geosr.registration.robust_fits import biweights, fit_line

#: Second difference along one axis: of both axes it leaves nothing of slopes and little of edges.
_SECOND = np.array([1.0, -2.0, 1.0])


@dataclass(frozen=True)
class Line:
    """``LR = gain * HR + offset``, of one band."""

    gain: float
    offset: float
    """Reflectance."""


def harmonise(lr: NDArray[np.float64], observed: NDArray[np.float64], use: NDArray[np.bool_]) -> tuple[Line, ...]:
    """The line of each band of ``(bands, rows, cols)`` over the pixels ``use``, ``(rows, cols)``.

    Pixels that do not fit are found by a robust regression. The line through the others is the reduced major axis
    (Ricker, 1973), which treats both images alike: a regression would take each difference between them, such as what
    is left of a shift, for a want of contrast in the HR. LR's own noise, which the observed HR does not have, is not
    contrast either, and is taken out first.
    """
    return tuple(_line(a, b, use) for a, b in zip(lr, observed, strict=True))


def _line(lr: NDArray[np.float64], hr: NDArray[np.float64], use: NDArray[np.bool_]) -> Line:
    gain, offset = fit_line(hr[use], lr[use])
    residual = lr - gain * hr - offset
    weights = np.zeros(use.shape)
    weights[use], _ = biweights(residual[use])
    total = float(weights.sum())
    mean_lr, mean_hr = float((weights * lr).sum()) / total, float((weights * hr).sum()) / total
    power_lr = float((weights * (lr - mean_lr) ** 2).sum()) / total
    power_hr = float((weights * (hr - mean_hr) ** 2).sum()) / total
    if power_hr <= 0:
        return Line(0.0, mean_lr)
    unexplained = float((weights * residual**2).sum()) / total
    noise = min(max(_roughness(lr, weights) - gain**2 * _roughness(hr, weights), 0.0), unexplained)
    axis = float(np.sign(gain)) * math.sqrt(max(power_lr - noise, 0.0) / power_hr)
    return Line(axis, mean_lr - axis * mean_hr)


def _roughness(image: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The variance of white noise that would be as rough as the image (Immerkær, 1996); of fitting pixels only."""
    whole = ndimage.minimum_filter(weights, 3, mode="constant") > 0
    if not whole.any():
        return 0.0
    rough = ndimage.convolve(image, np.outer(_SECOND, _SECOND), mode="nearest")[whole]
    return float((rough**2).mean()) / float((np.outer(_SECOND, _SECOND) ** 2).sum())
