"""The kernels of interpolation and of the sensor's blur, as plain arrays; what runs them is elsewhere.

A high-resolution image is held here as its *polyphase channels*: the ``scale × scale`` pixels of each low-resolution
pixel's block, in the order of the block's rows, as channels at low resolution; ``geosr/codegen/README.md`` draws them.
To interpolate is then one small convolution at low
resolution, and to observe another, for no phase has to be brought together with others before the last step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Interpolation that a network's residual is added to.
Base = Literal["nearest", "bilinear", "bicubic", "none"]

#: Modulation transfer at Nyquist of a square pixel that integrates its own footprint and nothing else, sinc(1/2).
#: Used for images whose sensor is unknown: taking the blur too small is mild, taking it too large is not.
SQUARE_PIXEL_MTF = 2 / math.pi

#: Whole LR pixels that the sampled Gaussian reaches beyond its own: 4.4 standard deviations of Sentinel-2's B04 at ×4.
BLUR_REACH = 2

#: Whole LR pixels that interpolation reaches.
CUBIC_REACH = 2

#: LR pixels that the sensor sees of what was interpolated, see :func:`upsample_observe`.
STEP_REACH = BLUR_REACH + CUBIC_REACH

#: By how much a chunk may differ from the scene in one piece, DN of Sentinel-2, for a model's margin to be enough.
MOST_HALO_DN = 0.5

#: Round trips after which nothing is left of an image but what is coarse; even.
COARSE_STEPS = 4

#: Source pixels on each side of a place that bound what is plausible there.
PLAUSIBLE_REACH_PX = 3

#: Share of the smallest of these that a pixel may lie below it. With less left of red, indices reach their ends.
UNDERSHOOT = 0.5

#: Residuals inside a block of the network are scaled by this factor (ESRGAN, section 3.1).
RESIDUAL_SCALE = 0.2


def mtf_to_sigma(mtf_nyquist: float, scale: int) -> float:
    """Standard deviation, in high-resolution pixels, of the Gaussian with this transfer at the LR grid's Nyquist.

    From ``exp(-2 (pi f sigma)^2) = mtf`` at ``f = 1 / (2 scale)`` cycles per high-resolution pixel.
    """
    return scale * math.sqrt(-2 * math.log(mtf_nyquist)) / math.pi


def sensor_sigmas(mtf_nyquist: Sequence[float | None], scale: int) -> list[float]:
    """The blur of bands with these transfers, HR pixels; None stands for a sensor that is not known."""
    return [mtf_to_sigma(SQUARE_PIXEL_MTF if mtf is None else mtf, scale) for mtf in mtf_nyquist]


def gaussian_taps(sigma: NDArray[np.floating], scale: int) -> NDArray[np.float32]:
    """The Gaussian around the centre of an LR pixel, sampled at HR pixel centres: ``(..., taps)``, sums to one.

    ``sigma`` has any shape, in HR pixels. There are ``scale * (1 + 2 reach)`` taps, symmetric about the block's centre.
    """
    count = scale * (1 + 2 * BLUR_REACH)
    offsets = np.arange(count) - (count - 1) / 2
    taps = np.exp(-0.5 * (offsets / np.asarray(sigma, dtype=np.float64)[..., None]) ** 2)
    return np.asarray(taps / taps.sum(axis=-1, keepdims=True), dtype=np.float32)


def interpolation(base: Base, scale: int) -> NDArray[np.float32]:
    """Weights of each phase on the LR pixels around its own, ``(scale * scale, 5, 5)``; pixel centres are aligned.

    Bicubic is cubic convolution with a = -1/2 (Keys, 1981), the one of GDAL and Pillow.
    """
    along = along_one_axis(base, scale)
    return _outer(along, along)


def observation(taps: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Weights of the observation on polyphase channels around a place, ``(bands, scale * scale, 5, 5)``.

    ``taps`` is ``(bands, taps)``, as of :func:`gaussian_taps`.
    """
    # The taps of one axis by phase, then by LR pixel.
    split = taps.reshape(len(taps), -1, scale).transpose(0, 2, 1)
    return np.stack([_outer(one, one) for one in split])


def upsample_observe(taps: NDArray[np.float32], scale: int, base: Base = "bicubic") -> NDArray[np.float32]:
    """Response to an impulse that is interpolated and observed, along one axis: ``(bands, 9)``."""
    along = along_one_axis(base, scale)
    split = taps.astype(np.float64).reshape(len(taps), -1, scale)
    # An impulse at 0 is in phase p of pixel y by along[p, -y], and pixel z sees that by split[y - z, p].
    seen = np.einsum("bkp,py->bky", split, along)
    result = np.zeros((len(taps), 2 * STEP_REACH + 1))
    for k in range(seen.shape[1]):
        for y in range(seen.shape[2]):
            result[:, STEP_REACH - (y - CUBIC_REACH) - (k - BLUR_REACH)] += seen[:, k, y]
    return result.astype(np.float32)


def along_one_axis(base: Base, scale: int) -> NDArray[np.float64]:
    """Weights of each phase on the LR pixels around its own along one axis, ``(scale, 5)``."""
    places = (np.arange(scale) + 0.5) / scale - 0.5
    distances = np.abs(np.arange(-CUBIC_REACH, CUBIC_REACH + 1) - places[:, None])
    match base:
        case "nearest":
            return _nearest(distances)
        case "bilinear":
            return _linear(distances)
        case "bicubic":
            return _cubic(distances)
        case "none":
            return np.zeros_like(distances)


def _nearest(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(distances < 0.5, 1.0, 0.0)


def _linear(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0, 1 - distances)


def _cubic(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    return np.where(distances <= 1, near, np.where(distances < 2, far, 0))


def _outer(rows: NDArray[np.floating], cols: NDArray[np.floating]) -> NDArray[np.float32]:
    """Kernels of two axes from those of one: ``(scale, taps)`` each to ``(scale * scale, taps, taps)``."""
    both = np.einsum("ik,jl->ijkl", rows, cols)
    kernels: NDArray[np.float32] = both.reshape(-1, *both.shape[2:]).astype(np.float32)
    return kernels
