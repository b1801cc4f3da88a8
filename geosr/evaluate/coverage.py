"""Coverage of calibrated half-widths, by kinds of pixels, and how they tell good pixels from bad ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

#: Share of a band's pixels that counts as its brightest, darkest, or strongest edges.
_TAIL = 0.1

_Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """One band's intervals, ``image ± half-width``, over all pixels of all images."""

    overall: float
    """Share of pixels whose truth lies within the interval."""
    brightest: float
    """Coverage among the tenth of pixels whose truth is brightest."""
    darkest: float
    edges: float
    """Among the tenth where the truth's gradient is strongest."""
    mean_half_width: float
    """Reflectance."""
    constant_half_width: float
    """Half-width of the constant interval that covers as many pixels, reflectance. A useful mean width is less."""
    rank_correlation: float
    """Spearman's, of half-width and absolute error; NaN where either is the same everywhere."""


def measure_coverage(
    images: Sequence[Tensor], half_widths: Sequence[Tensor], truths: Sequence[Tensor], bands: Sequence[str]
) -> dict[str, Coverage]:
    """Coverage by band. All are reflectance ``(bands, rows, cols)``, alike in shape, image by image."""
    by_band = {}
    for i, band in enumerate(bands):
        truth = [one[i].double().numpy() for one in truths]
        by_band[band] = _of_band(
            error=_pooled(np.abs(one[i].double().numpy() - true) for one, true in zip(images, truth, strict=True)),
            half_width=_pooled(one[i].double().numpy() for one in half_widths),
            truth=_pooled(truth),
            gradient=_pooled(_gradient(true) for true in truth),
        )
    return by_band


def _of_band(*, error: _Pixels, half_width: _Pixels, truth: _Pixels, gradient: _Pixels) -> Coverage:
    covered = error <= half_width
    overall = float(covered.mean())
    return Coverage(
        overall=overall,
        brightest=float(covered[truth >= np.quantile(truth, 1 - _TAIL)].mean()),
        darkest=float(covered[truth <= np.quantile(truth, _TAIL)].mean()),
        edges=float(covered[gradient >= np.quantile(gradient, 1 - _TAIL)].mean()),
        mean_half_width=float(half_width.mean()),
        constant_half_width=float(np.quantile(error, overall)),
        rank_correlation=_rank_correlation(half_width, error),
    )


def _rank_correlation(first: _Pixels, second: _Pixels) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: _Pixels) -> _Pixels:
    """Places in ascending order; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: _Pixels = (np.cumsum(counts) - (counts - 1) / 2)[which.ravel()]
    return ranks


def _gradient(band: _Pixels) -> _Pixels:
    """Its length, by central differences."""
    down, right = np.gradient(band)
    length: _Pixels = np.hypot(down, right)
    return length


def _pooled(parts: Iterable[_Pixels]) -> _Pixels:
    return np.concatenate([part.ravel() for part in parts])
