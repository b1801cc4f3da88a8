"""Shares of an image's added detail that are right, missing or false, as opensr-test 1.3.3 measures them.

The definitions are those of Aybar et al., "A Comprehensive Benchmark for Optical Remote Sensing Image
Super-Resolution", 2024, with the settings of that package: normalised differences, pixel by pixel. Gain, offset and
shift are removed first, so that :mod:`geosr.evaluate.gain_and_shift` has to look for those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from geosr.evaluate.consistency import BORDER_PX, aligning_shift, resize, trim

#: Pixels are judged whose difference exceeds that of this share of pixels between upsampled input and truth.
_QUIET_SHARE = 0.75

#: How fast a pixel that is far from both input and truth is taken for a false one.
_DECAY = 0.05

#: Temperature that turns a pixel's three distances into shares: the lower, the more the nearest takes.
_TEMPERATURE = 0.25

#: Keeps the normalised difference of two zeros defined.
_EPSILON = 1e-8


@dataclass(frozen=True)
class Correctness:
    """Shares of the detail, which sum to 1. A perfect image reaches 0.9647, 0.0177 and 0.0177."""

    improvement: float
    """Right detail added."""
    omission: float
    """Detail missed."""
    hallucination: float
    """False detail added."""


def correctness(sr: Tensor, lr: Tensor, hr: Tensor, border_px: int = BORDER_PX) -> Correctness:
    """Correctness of ``sr``, made from ``lr``, where the truth is ``hr``.

    ``sr`` and ``hr`` are reflectance ``(bands, scale rows, scale cols)``, finite, without gradients, ``lr`` ``(bands,
    rows, cols)``. ``border_px`` counts pixels of ``sr`` and is rounded down to whole pixels of ``lr``. All are NaN
    where input and truth are the same everywhere. Raises :class:`UsageError` where the sizes do not fit.
    """
    sr, _ = trim(sr, lr, border_px)
    hr, lr = trim(hr, lr, border_px)
    upsampled = resize(lr, hr)
    harmonised = _align(_match_histograms(sr, hr), hr)

    detail = _difference(upsampled, hr)
    to_truth = _difference(harmonised, hr)
    to_input = _difference(harmonised, upsampled)
    quiet = detail.flatten().kthvalue(int(_QUIET_SHARE * detail.numel())).values
    judged = torch.stack((detail, to_truth, to_input)).amax(dim=0) > quiet
    return _shares((to_truth / detail)[judged], (to_input / detail)[judged])


def _shares(to_truth: Tensor, to_input: Tensor) -> Correctness:
    """From each pixel's distances to truth and input, in units of the distance between those two."""
    # 0 on the straight way from input to truth; grows with the detour through detail that is in neither.
    detour = to_truth + to_input - 1
    penalty = 1 - torch.exp(-_DECAY * detour)
    distances = torch.stack(
        (
            to_truth + to_input * penalty,
            to_input + to_truth * penalty,
            torch.exp(-_DECAY * to_truth * to_input),
        )
    )
    shares = torch.softmax(-distances / _TEMPERATURE, dim=0).nanmean(dim=1)
    return Correctness(*shares.tolist())


def _difference(image: Tensor, other: Tensor) -> Tensor:
    """Mean over bands of ``|a - b| / |a + b|``, ``(rows, cols)``."""
    image, other = image.double(), other.double()
    return ((image - other).abs() / (image + other + _EPSILON).abs()).mean(dim=0)


def _match_histograms(image: Tensor, truth: Tensor) -> Tensor:
    """``image`` with each band's values replaced by those of equal rank in ``truth``."""
    pairs = zip(image.numpy(), truth.numpy(), strict=True)
    return torch.from_numpy(np.stack([_match_band(band, target) for band, target in pairs]))


def _match_band(band: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float32]:
    _, rank, counts = np.unique(band, return_inverse=True, return_counts=True)
    values, target_counts = np.unique(target, return_counts=True)
    quantiles = np.cumsum(counts) / band.size
    matched = np.interp(quantiles, np.cumsum(target_counts) / target.size, values)
    return matched[rank].reshape(band.shape).astype(np.float32)


def _align(image: Tensor, truth: Tensor) -> Tensor:
    """``image`` moved onto ``truth``, its edge repeated; as it is where registration fails."""
    shift = aligning_shift(image, truth)
    if shift is None:
        return image
    moved = ndimage.shift(image.numpy(), (0, *shift), order=1, mode="nearest")
    return torch.from_numpy(moved)
