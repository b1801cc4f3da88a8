"""Screening of patches: how well they are aligned, how alike the sensors see them, and what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geosr.pairs.config import Screening
from geosr.registration.align import UNKNOWN, Shift, band_correlations, measure_shift
from geosr.registration.harmonise import Line, harmonise
from geosr.registration.observed import Observed

#: Why a patch is not kept, in the order in which it is asked.
Reason = Literal["masked", "shift unknown", "residual shift", "correlation", "change"]
REASONS: tuple[Reason, ...] = ("masked", "shift unknown", "residual shift", "correlation", "change")

#: How far the shift that is left is looked for, LR pixels.
RESIDUAL_REACH_PX = 2.0


@dataclass(frozen=True)
class Verdict:
    """Findings on a patch whose HR has been moved onto it."""

    reason: Reason | None
    """Why it is not kept; None for one that is."""
    valid: NDArray[np.bool_]
    """LR pixels that both sensors measured, ``(rows, cols)``."""
    residual: Shift
    correlations: tuple[float, ...]
    """Correlation of LR with the observed HR, per band."""
    lines: tuple[Line, ...]
    """From HR to LR's radiometry, per band."""
    changed: float
    """Share of the valid pixels."""


def examine(
    lr: NDArray[np.float64],
    valid: NDArray[np.bool_],
    observed: Observed,
    rules: Screening,
    base: tuple[float, float] = (0.0, 0.0),
) -> Verdict:
    """Examine an LR patch ``(bands, rows, cols)`` against the HR over it, which lies ``base`` LR pixels further on."""
    at = np.asarray(base, dtype=np.float64)
    values, seen = observed.at(at)
    use = valid & seen
    nothing = tuple(0.0 for _ in lr)
    if use.mean() < rules.min_valid:
        return Verdict("masked", use, UNKNOWN, nothing, (), 0.0)
    residual = measure_shift(lr, use, observed.moved(at), RESIDUAL_REACH_PX)
    correlations = tuple(band_correlations(lr, use, observed, at))
    lines = harmonise(lr, values, use)
    changed = _changed(lr, values, use, lines, rules.changed_above)
    reason = _reason(residual, correlations, lines, changed, rules)
    return Verdict(reason, use, residual, correlations, lines, changed)


def _changed(
    lr: NDArray[np.float64],
    values: NDArray[np.float64],
    use: NDArray[np.bool_],
    lines: tuple[Line, ...],
    limit: float,
) -> float:
    moved = np.zeros(use.shape, dtype=bool)
    for band, seen, line in zip(lr, values, lines, strict=True):
        mean = max(float(np.abs(band[use]).mean()), 1e-6)
        moved |= np.abs(band - line.gain * seen - line.offset) > limit * mean
    return float(moved[use].mean())


def _reason(
    residual: Shift, correlations: tuple[float, ...], lines: tuple[Line, ...], changed: float, rules: Screening
) -> Reason | None:
    if residual.error_px > rules.max_error_px:
        return "shift unknown"
    if residual.length_px > rules.max_residual_px:
        return "residual shift"
    if min(correlations) < rules.min_correlation or min(line.gain for line in lines) <= 0:
        return "correlation"
    return "change" if changed > rules.max_changed else None
