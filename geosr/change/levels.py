"""Difference of unchanged ground between two dates.

The half-widths of two products do not add up like independent errors: most of an error comes of the ground, which both
dates share. So their sum in quadrature is far too wide for a difference. What unchanged ground really differs by is
measured in the scene: half of it or more has not changed, and a median tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: 90 % of normal errors are below this many of their median.
_NINETY_OF_MEDIAN = 1.645 / 0.6745

#: Largest median difference that harmonisation can have left: a larger one is that of changed ground.
_MOST_CENTRE = 0.1

#: Rounds in which changed pixels are left out, and half-widths beyond which a pixel is taken for one.
_ROUNDS, _FAR = 6, 2.0


@dataclass(frozen=True)
class Levels:
    """Offset of differences, and the factor on their half-widths."""

    centre: float
    """Median difference of the index: what harmonisation left."""
    factor: float
    """Factor on the sum in quadrature of both dates' half-widths; at most 1."""
    width: float = 1.0
    """Median of the sums in quadrature."""
    edge: float = 0.0
    """Half-width of the difference of reflectance where the dates have none of their own."""
    shown_later: tuple[bool, bool] = (True, True)
    """For decreases and increases, True where the later date shows the change itself, see ``extent``."""


def measure_levels(difference: NDArray[np.float32], width: NDArray[np.float32]) -> Levels:
    """Measure from differences and from the sums in quadrature of their half-widths, both 1-D and finite."""
    if not difference.size:
        return Levels(0.0, 1.0)
    for _ in range(_ROUNDS):
        centre = float(np.median(difference))
        away = np.abs(difference - centre)
        ratio = _NINETY_OF_MEDIAN * float(np.median(away / np.maximum(width, 1e-6)))
        # What has changed goes, so that it does not widen what the rest is held against.
        kept = away <= _FAR * max(ratio, 1e-6) * np.maximum(width, 1e-6)
        difference, width = difference[kept], width[kept]
    # Where unchanged ground is the smaller part, the median is not its.
    if ratio >= 1 or abs(centre) > _MOST_CENTRE:
        return Levels(0.0, 1.0, float(np.median(width)))
    return Levels(centre, ratio, float(np.median(width)))
