"""Weights of a date's pixels: 0 under clouds and where the ground has changed, less where they are odd.

A date's pixel is compared with what the reference's image shows at its place. What differs over a wide area is light
and season, and is taken off; what differs more than noise, registration and the image's detail allow is change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geosr.dates.survey import DateFit, local_mean, on_line

#: Pixels left out around what either date did not measure, and around change: as far as the local mean looks.
_GROWTH_PX, _CHANGE_GROWTH_PX = 1, 6

#: Differences that count as noise, standard deviations, and as errors of the image, share of the detail's variance.
_NOISE_LIMIT, _DETAIL_SHARE = 4.0, 0.1

#: Standard deviation of the window over which differences and detail are compared, source pixels.
_LOCAL_PX, _DETAIL_PX = 1.0, 2.0

#: Brighter than the reference by this in all bands is a cloud, reflectance; darker than this share of it, a shadow.
_CLOUD, _SHADOW = 0.06, 0.6

_Mask = NDArray[np.bool_]
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class Weighed:
    """Residual and weights of one date's pixels."""

    residual: _Values
    """The date's reflectance minus what the image shows at its place, ``(bands, rows, cols)``."""
    weight: _Values
    """Shaped as ``residual``; 0 where the date says nothing."""


def weigh(
    date: NDArray[np.floating], valid: _Mask, measured: _Mask, seen: NDArray[np.floating], fit: DateFit
) -> Weighed:
    """Residual and weights of one date's window.

    Parameters
    ----------
    date
        Reflectance ``(bands, rows, cols)``, finite everywhere.
    valid, measured
        ``(rows, cols)``, where the date was measured, and where the reference's image is to be compared.
    seen
        The reference's image as this date's sensor sees it, shaped as ``date``.
    fit
        How the date lies on the reference.
    """
    difference = on_line(date, fit.lines) - seen
    usable = shrunk(valid, _GROWTH_PX) & measured
    usable &= ~_cloud_or_shadow(difference, seen, usable)
    residual, odd = _oddness(difference, seen, usable, fit)
    change = (odd > 1) & usable
    if change.any():
        usable &= ~_grown(change, _CHANGE_GROWTH_PX)
        residual, odd = _oddness(difference, seen, usable, fit)
    share = np.where(usable & (odd < 1), (1 - np.minimum(odd, 1)) ** 2, 0.0)
    return Weighed(np.where(usable, residual, 0.0), np.asarray(fit.weight)[:, None, None] * share)


def shrunk(area: _Mask, px: int) -> _Mask:
    """The area without pixels within so many of what is not in it."""
    inside: _Mask = ~_grown(~area, px)
    return inside


def local_power(image: _Values, use: _Mask, sigma_px: float) -> _Values:
    """Mean square of each band over the pixels ``use`` of the Gaussian window around, shaped as ``image``."""
    known = np.maximum(ndimage.gaussian_filter(use.astype(np.float64), sigma_px), 1e-6)
    return np.stack([ndimage.gaussian_filter(np.where(use, band**2, 0.0), sigma_px) / known for band in image])


def _grown(area: _Mask, px: int) -> _Mask:
    grown: _Mask = ndimage.maximum_filter(area, 2 * px + 1, mode="nearest")
    return grown


def _cloud_or_shadow(difference: _Values, seen: NDArray[np.floating], usable: _Mask) -> _Mask:
    mean = local_mean(difference, usable)
    level = np.maximum(local_mean(seen, usable), 1e-3)
    clouded = (mean > _CLOUD).all(axis=0)
    shaded = (mean < (_SHADOW - 1) * level).all(axis=0)
    return _grown((clouded | shaded) & usable, _CHANGE_GROWTH_PX)


def _oddness(difference: _Values, seen: NDArray[np.floating], usable: _Mask, fit: DateFit) -> tuple[_Values, _Values]:
    """Return the difference without its local mean, and the mean over the bands of its square over what is allowed.

    The shapes are ``(bands, rows, cols)`` and ``(rows, cols)``.
    """
    residual = difference - local_mean(difference, usable)
    detail = seen - local_mean(seen, usable)
    found, strength = local_power(residual, usable, _LOCAL_PX), local_power(detail, usable, _DETAIL_PX)
    total = np.zeros(usable.shape)
    for own, allowed, noise in zip(found, strength, fit.noise, strict=True):
        total += own / ((_NOISE_LIMIT * noise) ** 2 + _DETAIL_SHARE * allowed)
    return residual, total / len(residual)
