"""Difference of unchanged ground between two dates.

The half-widths of two products do not add up like independent errors: most of an error comes of the ground, which both
dates share. So their sum in quadrature is far too wide for a difference. What unchanged ground really differs by is
measured in the scene: half of it or more has not changed, and a median tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: 90 % of normal errors are below this many of their median.
_NINETY_OF_MEDIAN = 1.645 / 0.6745

#: Rounds in which changed pixels are left out, and half-widths beyond which a pixel is taken for one.
_ROUNDS, _FAR = 6, 2.0


@dataclass(frozen=True)
class Levels:
    """Offset of differences, and the factor on their half-widths."""

    centre: float
    """Median difference of the index: what harmonisation left."""
    factor: float
    """Factor on the sum in quadrature of both dates' half-widths; at most 1."""
    typical: float
    """Median absolute difference of the index from its centre."""
    width: float = 1.0
    """Median of the sums in quadrature."""


def measure_levels(samples: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Levels:
    """Measure from samples of differences and of the sums in quadrature of their half-widths, 1-D, finite."""
    pairs = list(samples)
    difference, width = (np.concatenate([one[i] for one in pairs]) if pairs else np.empty(0) for i in (0, 1))
    if not difference.size:
        return Levels(0.0, 1.0, 0.0)
    for _ in range(_ROUNDS):
        centre = float(np.median(difference))
        away = np.abs(difference - centre)
        ratio = _NINETY_OF_MEDIAN * float(np.median(away / np.maximum(width, 1e-6)))
        # What has changed goes, so that it does not widen what the rest is held against.
        kept = away <= _FAR * max(ratio, 1e-6) * np.maximum(width, 1e-6)
        difference, width = difference[kept], width[kept]
    # Where unchanged ground is the smaller part, the median is not its.
    return Levels(centre if ratio < 1 else 0.0, min(1.0, ratio), float(np.median(away)), float(np.median(width)))
