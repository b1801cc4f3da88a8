"""Half-widths of an image that several dates make: those of the reference, narrower where further dates correct it.

The error of the image falls with the *effective number* of further dates at a place: each counts by its weight ``w``
there as ``w / (w + 100)``, so that one date of any weight is less than two. The factor on the half-width is
``1 - most * n / (n + half_at)``, 1 where no date takes part; :mod:`geosr.release.dates_calibration` measures both
numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from geosr.model.card import DatesCalibration

#: Weight of a pixel with which a date counts half. Errors of simulated series with equal dates depend on the effective
#: number alone, whatever the number of dates, for weights from here to twice as much.
_HALF_WEIGHT = 100.0


def effective_dates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Effective number of further dates, ``(rows, cols)``, from their weights, ``(dates, rows, cols)``."""
    number: NDArray[np.float32] = (weights / (weights + np.float32(_HALF_WEIGHT))).sum(axis=0)
    return number


def width_factor(weights: NDArray[np.float32], calibration: DatesCalibration, scale: int) -> NDArray[np.float32]:
    """Factor on the reference's half-widths by further dates' weights, ``(scale rows, scale cols)``, at most 1."""
    number = effective_dates(weights)
    factor = 1 - calibration.most * number / (number + calibration.half_at)
    finer = F.interpolate(torch.from_numpy(factor)[None, None], scale_factor=scale, mode="bilinear")[0, 0].numpy()
    # Next to a place where dates take part is none that they make surer.
    alone = (number == 0).repeat(scale, axis=0).repeat(scale, axis=1)
    made: NDArray[np.float32] = np.where(alone, np.float32(1), finer)
    return made
