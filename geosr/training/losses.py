"""Losses: pixel errors, terms for spectra, edges and frequencies, and the half-widths' own loss.

Errors of the image are relative to a patch's gain, so that dark patches count as much as bright ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

#: Of ``rms``: keeps its slope finite where a patch has no error, units of reference reflectance.
_RMS_FLOOR = 1e-3

#: Keeps an error's logarithm finite, units of reference reflectance.
_LEAST_ERROR = 1e-6


#: Least difference between sources that :func:`noise_passed` divides by, units of reference reflectance.
_NOISE_FLOOR = 1e-3


@dataclass(frozen=True)
class Loss:
    """A pixel loss, and the weights of the terms added to it."""

    pixel: Literal["l1", "charbonnier", "l2", "rms"] = "l1"
    """Mean absolute error, its smooth form, mean squared error, or the root of the mean square of each patch's band.

    The best answer to squared errors is the mean of what is likely; ``rms`` keeps that within a patch, and counts a
    smooth patch as ``l1`` does, where ``l2`` all but leaves it out."""
    charbonnier_epsilon: float = 0.05
    """Errors below this count squared, those above as they are; units of reference reflectance."""
    spectral_angle: float = 0.0
    """Weight of the mean angle between spectra, radians."""
    gradient: float = 0.0
    """Weight of the same error of the differences between neighbouring pixels."""
    frequency: float = 0.0
    """Weight of the mean absolute difference of the Fourier amplitudes, per pixel."""
    relative_to: Literal["gain", "interpolation"] = "gain"
    """Unit of a patch's error: its gain, or the error that interpolation leaves of each of its bands, so that every
    patch counts alike, calm ground as much as roofs."""

    noise_passed: float = 0.0
    """Weight of :func:`noise_passed`, with ``noise_pairs`` of patches in a batch."""

    def __call__(self, sr: Tensor, hr: Tensor, gain: Tensor) -> Tensor:
        """The loss of ``(n, bands, rows, cols)``, with each patch's gain ``(n, 1, 1, 1)``."""
        sr, hr = sr / gain, hr / gain
        loss = self._pixel(sr - hr)
        if self.spectral_angle:
            loss = loss + self.spectral_angle * _spectral_angle(sr, hr)
        if self.gradient:
            loss = loss + self.gradient * (self._pixel(_along(sr - hr, -1)) + self._pixel(_along(sr - hr, -2)))
        if self.frequency:
            spectra = torch.fft.rfft2(sr, norm="ortho") - torch.fft.rfft2(hr, norm="ortho")
            loss = loss + self.frequency * torch.view_as_real(spectra).abs().mean()
        return loss

    def _pixel(self, error: Tensor) -> Tensor:
        if self.pixel == "l1":
            return error.abs().mean()
        if self.pixel == "l2":
            return error.square().mean()
        if self.pixel == "rms":
            return (error.square().mean(dim=(-2, -1)) + _RMS_FLOOR**2).sqrt().mean()
        return (error.square() + self.charbonnier_epsilon**2).sqrt().mean()


def interpolation_error(interpolated: Tensor, hr: Tensor) -> Tensor:
    """Root of the mean square error of each patch's band, ``(n, bands, 1, 1)``, at least :data:`_RMS_FLOOR`."""
    return ((interpolated - hr).square().mean(dim=(-2, -1), keepdim=True) + _RMS_FLOOR**2).sqrt()


def loss_beside_spots(loss: Loss, sr: Tensor, hr: Tensor, quiet: Tensor) -> Tensor:
    """Loss of what lies beside bright spots, where the spots' own errors would hide it.

    ``quiet``, ``(n, 1, rows, cols)``, is 0 around spots and 1 elsewhere. Patches without spots add nothing; each of
    the others counts as much as a patch does in the whole loss. The unit is the truth's own contrast beside the spots.
    """
    spotted = quiet.amin(dim=(-3, -2, -1)) == 0
    if not bool(spotted.any()):
        return sr.new_zeros(())
    beside = quiet[spotted]
    made, truth = sr[spotted] * beside, hr[spotted] * beside
    share = beside.mean(dim=(-2, -1), keepdim=True).clamp(min=1e-3)
    mean = truth.mean(dim=(-2, -1), keepdim=True) / share
    contrast = ((truth - mean * beside).square().mean(dim=(-2, -1), keepdim=True) + _RMS_FLOOR**2).sqrt()
    return spotted.float().mean() * loss(made, truth, contrast)


def noise_passed(sr: Tensor, lr: Tensor, quiet: Tensor, pairs: int) -> Tensor:
    """Difference between images of one ground, over the difference of their sources: the noise that is passed on.

    The last ``pairs`` patches of ``(n, bands, rows, cols)`` repeat those before them, with other noise. Root mean
    squares of each band, where ``quiet``, ``(n, 1, rows, cols)`` of ``sr``, is 1 in both, averaged over bands and
    patches.
    """
    first, second = slice(-2 * pairs, -pairs), slice(-pairs, None)
    both = quiet[first] * quiet[second]
    scale = sr.shape[-1] // lr.shape[-1]
    made, given = (
        ((one[first] - one[second]).square() * where).mean(dim=(-2, -1)) / where.mean(dim=(-2, -1)).clamp(min=1e-3)
        for one, where in ((sr, both), (lr, -F.max_pool2d(-both, scale)))
    )
    return ((made + _LEAST_ERROR**2).sqrt() / (given + _NOISE_FLOOR**2).sqrt()).mean()


def half_width_loss(error: Tensor, half_width: Tensor, level: float) -> Tensor:
    """The loss whose minimum is the half-width that a share ``level`` of absolute errors stays below.

    It is the pinball loss (Koenker and Bassett, "Regression Quantiles", 1978) of the logarithms: a quantile's logarithm
    is the logarithms' quantile, and imagery with small errors counts as much as imagery with large ones.
    """
    beyond = (error.abs() + _LEAST_ERROR).log() - half_width.log()
    return torch.maximum(level * beyond, (level - 1) * beyond).mean()


def _along(image: Tensor, axis: int) -> Tensor:
    return image.diff(dim=axis)


def _spectral_angle(sr: Tensor, hr: Tensor) -> Tensor:
    cosine = torch.nn.functional.cosine_similarity(sr, hr, dim=1, eps=1e-6)
    # The angle's slope is infinite at 0: stay where it can be followed.
    return torch.arccos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)).mean()
