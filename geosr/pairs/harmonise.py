"""Brings HR to LR's radiometry: a gain and an offset per band, fitted between LR and the *observed* HR.

What the blur takes out of the HR must not be mistaken for a gain, so HR is seen through the LR sensor first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.pairs.robust import biweights, fit_line


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
    is left of a shift, for a want of contrast in the HR.
    """
    return tuple(_line(a[use], b[use]) for a, b in zip(lr, observed, strict=True))


def _line(lr: NDArray[np.float64], hr: NDArray[np.float64]) -> Line:
    gain, offset = fit_line(hr, lr)
    weights, _ = biweights(lr - gain * hr - offset)
    total = float(weights.sum())
    mean_lr, mean_hr = float((weights * lr).sum()) / total, float((weights * hr).sum()) / total
    power_lr = float((weights * (lr - mean_lr) ** 2).sum())
    power_hr = float((weights * (hr - mean_hr) ** 2).sum())
    axis = float(np.sign(gain)) * float(np.sqrt(power_lr / power_hr)) if power_hr > 0 else 0.0
    return Line(axis, mean_lr - axis * mean_hr)
