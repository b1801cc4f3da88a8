"""Agreement of an upscaled image with the input it was made from, as opensr-test 1.3.3 measures it.

The definitions are those of Aybar et al., "A Comprehensive Benchmark for Optical Remote Sensing Image
Super-Resolution", 2024, with the settings of that package. Its registration sees little of the shifts of a smooth
image, and its downscaling is not the sensor's: :mod:`geosr.evaluate.gain_and_shift` and ``Sensor.observe`` are
stricter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor
from torch.nn import functional as F

from geosr.errors import UsageError
from geosr.evaluate.metrics import spectral_angle_deg

#: Margin left out on each side, pixels of the upscaled image: models are weakest at an image's edge.
BORDER_PX = 16

#: Registration finds shifts in steps of 1/50 pixel.
_STEPS_PER_PX = 50

#: A longer shift is taken for a failure of the registration, pixels of the images registered.
_LONGEST_PX = 5.0

#: Bands that are registered: the visible ones, in any order, where they come first.
_REGISTERED_BANDS = 3


@dataclass(frozen=True)
class Consistency:
    """Differences between the input and the upscaled image brought back to the input's grid; 0 is perfect."""

    reflectance: float
    """Mean absolute difference, reflectance."""
    spectral_deg: float
    """Mean angle between spectra, degrees, over pixels that are not black in all bands."""
    shift_lr_px: float
    """Length of the shift between them, LR pixels; NaN where registration failed."""


class ImageShift(NamedTuple):
    """A displacement of content, in pixels, down and to the right."""

    dy: float
    dx: float


def consistency(sr: Tensor, lr: Tensor, border_px: int = BORDER_PX) -> Consistency:
    """Consistency of ``sr`` with the ``lr`` it was made from.

    ``sr`` is reflectance ``(bands, scale rows, scale cols)``, finite, without gradients, ``lr`` ``(bands, rows,
    cols)``. ``border_px`` counts pixels of ``sr`` and is rounded down to whole pixels of ``lr``. The upscaled image is
    brought back with a bilinear filter as wide as an LR pixel's neighbours reach. Raises :class:`UsageError` where the
    sizes do not fit.
    """
    sr, lr = trim(sr, lr, border_px)
    seen = resize(sr, lr)
    bands = _REGISTERED_BANDS if len(lr) >= _REGISTERED_BANDS else 1
    shift = aligning_shift(lr[:bands], seen[:bands])
    # A black pixel's spectrum has no direction.
    lit = lr.any(dim=0) & seen.any(dim=0)
    return Consistency(
        reflectance=float((lr.double() - seen.double()).abs().mean()),
        spectral_deg=spectral_angle_deg(seen[:, lit], lr[:, lit]),
        shift_lr_px=math.nan if shift is None else math.hypot(*shift),
    )


def trim(fine: Tensor, coarse: Tensor, border_px: int) -> tuple[Tensor, Tensor]:
    """Two images of the same ground ``(bands, rows, cols)`` without their outer ``border_px`` fine pixels.

    Raises :class:`UsageError` where one size is not a multiple of the other, or nothing is left.
    """
    scale = fine.shape[-1] // coarse.shape[-1]
    if scale < 1 or fine.shape != (len(coarse), scale * coarse.shape[1], scale * coarse.shape[2]):
        raise UsageError(
            f"an upscaled image of {tuple(fine.shape)} does not fit an input of {tuple(coarse.shape)}: "
            "it needs the same bands, and rows and columns that are the same whole multiple of the input's"
        )
    margin = border_px // scale
    if min(coarse.shape[1:]) <= 2 * margin:
        raise UsageError(f"an input of {tuple(coarse.shape)} is all border: {margin} pixels are left out on each side")
    return _inside(fine, scale * margin), _inside(coarse, margin)


def resize(image: Tensor, like: Tensor) -> Tensor:
    """``image`` on the grid of ``like``, both ``(bands, rows, cols)``: bilinear, widened to the step when shrinking."""
    return F.interpolate(image[None], size=like.shape[1:], mode="bilinear", antialias=True)[0]


def aligning_shift(moving: Tensor, reference: Tensor) -> ImageShift | None:
    """Shift that lays ``moving`` on ``reference``, both ``(bands, rows, cols)``; None where that is unclear.

    By phase correlation of the means over bands, in which all frequencies count the same.
    """
    shift = shift_between(
        moving.numpy().mean(0), reference.numpy().mean(0), steps_per_px=_STEPS_PER_PX, normalization="phase"
    )
    return shift if math.hypot(*shift) <= _LONGEST_PX else None


def shift_between(
    moving: NDArray[Any], reference: NDArray[Any], *, steps_per_px: int, normalization: Literal["phase"] | None
) -> ImageShift:
    """Shift that lays ``moving`` on ``reference``, both ``(rows, cols)``, to ``1 / steps_per_px`` pixel.

    The peak of their cross-correlation (Guizar-Sicairos et al., 2008), of phase alone if so normalised.
    """
    found, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call,unused-ignore]
        reference, moving, upsample_factor=steps_per_px, normalization=normalization
    )
    return ImageShift(float(found[0]), float(found[1]))


def _inside(image: Tensor, margin: int) -> Tensor:
    return image[:, margin : image.shape[1] - margin, margin : image.shape[2] - margin]
