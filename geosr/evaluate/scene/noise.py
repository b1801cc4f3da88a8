"""Noise of one band, measured on its calmest ground, by signal, and its correlation between neighbours.

The deviation follows from second differences along both axes, in which ramps and straight rows vanish (Immerkær,
"Fast noise variance estimation", 1996). Blocks are chosen by their contrast after a mean
of 3 × 3 pixels, in which little of the noise is left: chosen by their noise, they would be those with least of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_Pixels = NDArray[np.float64]

#: Side of a block, pixels, and the share of blocks that is calm.
_BLOCK_PX, _CALM_SHARE = 16, 0.02

#: Fewer calm blocks say little.
_FEWEST_BLOCKS = 4

#: Classes of brightness, each of as many blocks.
_CLASSES = 5

#: Sum of the squares of the weights of a second difference along both axes.
_SQUARED_WEIGHTS = 36.0

#: Among calm blocks, the percentile of the deviation that is told: some of them hold waves or rows of plants.
_TOLD = 25


@dataclass(frozen=True)
class NoiseAt:
    """Noise of ground of one brightness."""

    reflectance: float
    """Mean of its calm blocks."""
    deviation: float
    """Standard deviation, reflectance."""


@dataclass(frozen=True)
class Noise:
    """Noise of one band; NaN where a scene has no calm ground."""

    deviation: float
    """Standard deviation on the calmest ground, reflectance."""
    by_signal: tuple[NoiseAt, ...]
    """From dark to bright ground; brighter ground is less calm, so that its figures are upper bounds."""
    neighbour_correlation: float
    """Correlation of the grain of neighbouring pixels: 0 for a sensor's own grid, above it for resampled products."""


def measure_noise(band: _Pixels, measured: NDArray[np.bool_], resolution: float) -> Noise:
    """Noise of reflectance ``(rows, cols)``; ``resolution`` is the reflectance of one DN.

    Blocks with a pixel that was not measured, and those of one DN, are left out.
    """
    means, contrasts, deviations, correlations = _blocks(band, measured)
    varied = deviations > resolution / np.sqrt(12)
    means, contrasts, deviations, correlations = (one[varied] for one in (means, contrasts, deviations, correlations))
    if len(means) < _FEWEST_BLOCKS:
        return Noise(float("nan"), (), float("nan"))
    calm = _calmest(contrasts)
    order = np.argsort(means)
    classes = [
        part[_calmest(contrasts[part])] for part in np.array_split(order, _CLASSES) if len(part) >= _FEWEST_BLOCKS
    ]
    return Noise(
        _typical(deviations[calm]),
        tuple(NoiseAt(float(means[one].mean()), _typical(deviations[one])) for one in classes),
        float(np.median(correlations[calm])),
    )


def _calmest(contrasts: _Pixels) -> NDArray[np.intp]:
    count = min(max(int(_CALM_SHARE * len(contrasts)), _FEWEST_BLOCKS), len(contrasts))
    return np.argsort(contrasts)[:count]


def _typical(deviations: _Pixels) -> float:
    return float(np.percentile(deviations, _TOLD))


def _blocks(band: _Pixels, measured: NDArray[np.bool_]) -> tuple[_Pixels, _Pixels, _Pixels, _Pixels]:
    """Statistics of whole blocks: mean, contrast without noise, deviation of the noise, correlation of neighbours."""
    side = _BLOCK_PX
    rows, cols = (size // side for size in band.shape)
    filled = np.where(measured, band, 0.0)
    smooth = ndimage.uniform_filter(filled, 3, mode="nearest")
    whole = _cut(measured.astype(np.float64), rows, cols).all(axis=(1, 2))
    cut, ground = _cut(filled, rows, cols)[whole], _cut(smooth, rows, cols)[whole]
    both = np.diff(np.diff(cut, 2, axis=1), 2, axis=2)
    variance = np.square(both).mean(axis=(1, 2)) / _SQUARED_WEIGHTS
    grain = cut - _tilted(cut)
    power = np.maximum(np.square(grain).mean(axis=(1, 2)), 1e-18)
    beside = (grain[:, :, 1:] * grain[:, :, :-1]).mean(axis=(1, 2))
    below = (grain[:, 1:] * grain[:, :-1]).mean(axis=(1, 2))
    # The rim of a block sees its neighbours through the mean of 3 × 3.
    inner = ground[:, 1:-1, 1:-1]
    return cut.mean(axis=(1, 2)), inner.std(axis=(1, 2)), np.sqrt(variance), (beside + below) / 2 / power


def _cut(image: _Pixels, rows: int, cols: int) -> _Pixels:
    """The image as ``rows × cols`` blocks, ``(blocks, side, side)``."""
    side = _BLOCK_PX
    blocks = image[: rows * side, : cols * side].reshape(rows, side, cols, side)
    return blocks.swapaxes(1, 2).reshape(-1, side, side)


def _tilted(blocks: _Pixels) -> _Pixels:
    """Surface of second order that fits each block best."""
    side = blocks.shape[1]
    y, x = np.mgrid[:side, :side] / side - 0.5
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).reshape(6, -1)
    solve = np.linalg.pinv(basis.T)
    fitted: _Pixels = (blocks.reshape(len(blocks), -1) @ solve.T @ basis).reshape(blocks.shape)
    return fitted
