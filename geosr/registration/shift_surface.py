"""The smooth model of the shifts over a scene: what single patches say, freed of those that are wrong.

Sensors differ by their pointing, their terrain model and their projection, all of which change slowly over a scene: a
polynomial of low order says what a patch of featureless fields cannot, and a patch that found a wrong peak is outvoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.registration.robust_fits import biweights

#: Patches that are asked for per coefficient; a lower order is taken where there are fewer.
_PATCHES_PER_TERM = 3

#: Rounds of least absolute deviations, and of the biweight after them.
_ROUNDS = 15

#: A shift is never surer than this, LR pixels: what the sensors' own geometry leaves between neighbouring patches.
_FLOOR_PX = 0.02


@dataclass(frozen=True)
class ShiftSurface:
    """Shift of every place of an LR grid, LR pixels."""

    order: int
    down: tuple[float, ...]
    """Coefficients of the shift along rows, constant first."""
    across: tuple[float, ...]
    """And along columns."""
    bounds: tuple[float, float, float, float]
    """First and last row, first and last column of the patches that it rests on: beyond, it stays as it is there."""
    patches: int
    """That it rests on."""
    outliers: int
    """Patches whose shift was outvoted."""
    spread_px: float
    """Root mean square of what it leaves of the shifts that it rests on, LR pixels."""

    def at(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shifts along rows and columns at places of the LR grid (pixels from its corner)."""
        terms = _terms(rows, cols, self.bounds, self.order)
        down = sum(factor * term for factor, term in zip(self.down, terms, strict=True))
        across = sum(factor * term for factor, term in zip(self.across, terms, strict=True))
        return np.asarray(down), np.asarray(across)


def fit_surface(
    places: NDArray[np.float64], shifts: NDArray[np.float64], errors: Sequence[float], order: int
) -> ShiftSurface | None:
    """The polynomial through shifts ``(n, 2)`` at places ``(n, 2)``, rows first; None where there are no shifts.

    Of the highest order up to ``order`` that there are patches enough for.
    """
    count = len(places)
    if count == 0:
        return None
    while order > 0 and count < _PATCHES_PER_TERM * _count(order):
        order -= 1
    (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
    bounds = (float(top), float(bottom), float(left), float(right))
    design = np.stack(_terms(places[:, 0], places[:, 1], bounds, order), axis=1)
    trust = 1 / (np.asarray(errors) ** 2 + _FLOOR_PX**2)
    factors, weights = _fit(design, shifts, trust)
    used = weights > 0
    left_over = shifts - design @ factors
    return ShiftSurface(
        order=order,
        down=tuple(map(float, factors[:, 0])),
        across=tuple(map(float, factors[:, 1])),
        bounds=bounds,
        patches=int(used.sum()),
        outliers=int(count - used.sum()),
        spread_px=float(np.sqrt((left_over[used] ** 2).sum(axis=1).mean())),
    )


def _fit(
    design: NDArray[np.float64], shifts: NDArray[np.float64], trust: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients ``(terms, 2)``, and weights that both directions share: a wrong peak is wrong in both."""
    weights = np.ones(len(design))
    factors: NDArray[Any] = np.zeros((design.shape[1], 2))
    for turn in range(2 * _ROUNDS):
        root = np.sqrt(weights * trust)[:, None]
        factors = np.linalg.lstsq(root * design, root * shifts, rcond=None)[0]
        length = np.hypot(*(shifts - design @ factors).T)
        if turn < _ROUNDS:
            weights = 1 / np.maximum(length, _FLOOR_PX)
        else:
            weights, _ = biweights(np.sqrt(length**2 + _FLOOR_PX**2))
    return factors, weights


def _terms(
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    bounds: tuple[float, float, float, float],
    order: int,
) -> list[NDArray[np.float64]]:
    """Products of powers of row and column, each between -1 and 1."""
    y, x = (
        2 * (np.clip(place, low, high) - low) / max(high - low, 1.0) - 1
        for place, low, high in ((rows, *bounds[:2]), (cols, *bounds[2:]))
    )
    return [y**i * x**j for i in range(order + 1) for j in range(order + 1 - i)]


def _count(order: int) -> int:
    return (order + 1) * (order + 2) // 2
