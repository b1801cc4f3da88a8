"""Real-ESRGAN's second-order degradation, for reflectance: blur, resizing and noise, twice, and ringing at the end.

For imagery whose blur is not known. There is no JPEG compression in it, no noise that all bands share and no sharpening
of the truth: none of these happens to reflectance. Source: Wang et al., "Real-ESRGAN", 2021, section 3, with the shares
and ranges of its published configuration but for noise, which is in reflectance here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import j1
from torch import Tensor
from torch.nn import functional as F

#: LR pixels cut from each side of a patch. What little of its blurs reaches further saw the patch mirrored.
REACH_LR_PX = 6

#: Sides of kernels, pixels: odd numbers in this range.
_SIDES_PX = (7, 21)

#: Kinds of blur and their shares: Gaussian, generalised Gaussian, plateau.
Shape = Literal["gaussian", "general", "plateau"]
_SHAPES: tuple[Shape, ...] = get_args(Shape)
_SHARES = (0.7, 0.15, 0.15)

#: Of each kind, the share that is the same in all directions.
_ROUND = 0.7

#: Exponents of generalised Gaussians and of plateaus.
_EXPONENTS: dict[Shape, tuple[float, float]] = {"gaussian": (1.0, 1.0), "general": (0.5, 4.0), "plateau": (1.0, 2.0)}

#: Smallest side of an image on the way, pixels.
_LEAST_PX = 8

_RESIZINGS: tuple[Literal["area", "bilinear", "bicubic"], ...] = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Pass:
    """Ranges from which one blur, resizing and noise is drawn."""

    blurred: float = 1.0
    """Share of images that are blurred."""
    sigma: tuple[float, float] = (0.2, 3.0)
    """Standard deviation of the blur along each of its axes, pixels."""
    sinc: float = 0.1
    """Share of blurs that cut frequencies off, which leaves ringing."""
    resized: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Shares that are enlarged, reduced, and neither."""
    resize: tuple[float, float] = (0.15, 1.5)
    """Smallest and largest factor."""
    noise: tuple[float, float] = (0.0004, 0.01)
    """Standard deviation of the noise, reflectance, log-uniform; of Poisson noise at reflectance 1."""
    poisson: float = 0.5
    """Share of noise that grows with the signal."""


@dataclass(frozen=True)
class SecondOrder:
    """Ranges from which each image's degradation is drawn."""

    first: Pass = field(default_factory=Pass)
    second: Pass = field(
        default_factory=lambda: Pass(blurred=0.8, sigma=(0.2, 1.5), resized=(0.3, 0.4, 0.3), resize=(0.3, 1.2))
    )
    """Its resizing is relative to the low resolution."""
    last_sinc: float = 0.8
    """Share of images whose frequencies are cut off at the end."""


def degrade_twice(hr: Tensor, scale: int, degradation: SecondOrder, rng: torch.Generator) -> Tensor:
    """Degrade ``(n, bands, scale rows, scale cols)`` reflectance to ``(n, bands, rows, cols)``, each image its own way.

    Every resizing keeps the image's bounds, so that low and high resolution stay on the same ground.
    """
    return torch.cat([_degrade(image[None], scale, degradation, rng) for image in hr])


def _degrade(hr: Tensor, scale: int, degradation: SecondOrder, rng: torch.Generator) -> Tensor:
    rows, cols = (side // scale for side in hr.shape[-2:])
    image = _pass(hr, hr.shape[-2:], degradation.first, rng)
    image = _pass(image, (rows, cols), degradation.second, rng)
    ringing = _draw_sinc(rng) if _chance(degradation.last_sinc, rng) else None
    if _chance(0.5, rng):
        return _filter(_resize(image, (rows, cols), rng), ringing)
    return _resize(_filter(image, ringing), (rows, cols), rng)


def _pass(image: Tensor, base: tuple[int, ...], ranges: Pass, rng: torch.Generator) -> Tensor:
    """Blur, resize to a factor of the size ``base``, and add noise."""
    if _chance(ranges.blurred, rng):
        kernel = _draw_sinc(rng) if _chance(ranges.sinc, rng) else _draw_blur(ranges.sigma, rng)
        image = _filter(image, kernel)
    smallest, largest = ranges.resize
    way = int(torch.multinomial(torch.tensor(ranges.resized), 1, generator=rng))
    factor = (_between(1, largest, rng), _between(smallest, 1, rng), 1.0)[way]
    image = _resize(image, (max(_LEAST_PX, round(base[0] * factor)), max(_LEAST_PX, round(base[1] * factor))), rng)
    least, most = map(math.log, ranges.noise)
    deviation = math.exp(_between(least, most, rng))
    if _chance(ranges.poisson, rng):
        # Counts whose standard deviation is the square root of their number.
        return torch.poisson(image.clamp(min=0) / deviation**2, generator=rng) * deviation**2
    return image + deviation * torch.randn(image.shape, generator=rng)


def blur_kernel(
    side_px: int,
    sigmas: tuple[float, float],
    angle: float,
    shape: Shape = "gaussian",
    exponent: float = 1.0,
) -> NDArray[np.float64]:
    """A blur of ``sigmas`` pixels along two axes turned by ``angle``, summing to 1.

    With ``d`` the squared distance in units of the standard deviations, it falls as ``exp(-d^exponent / 2)``, or for a
    ``plateau`` as ``1 / (1 + d^exponent)`` (Liu et al., "Estimating Generalized Gaussian Blur Kernels", 2020).
    """
    reach = side_px // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = (along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2
    kernel = 1 / (1 + distance**exponent) if shape == "plateau" else np.exp(-0.5 * distance**exponent)
    normalised: NDArray[np.float64] = kernel / kernel.sum()
    return normalised


def sinc_kernel(side_px: int, cutoff: float) -> NDArray[np.float64]:
    """A filter that passes frequencies below ``cutoff`` (radians per pixel), in all directions; sums to 1."""
    reach = side_px // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    radius = np.hypot(x, y)
    radius[reach, reach] = 1
    kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[reach, reach] = cutoff**2 / (4 * np.pi)
    normalised: NDArray[np.float64] = kernel / kernel.sum()
    return normalised


def _draw_blur(sigma: tuple[float, float], rng: torch.Generator) -> NDArray[np.float64]:
    shape = _SHAPES[int(torch.multinomial(torch.tensor(_SHARES), 1, generator=rng))]
    along = _between(*sigma, rng)
    across = along if _chance(_ROUND, rng) else _between(*sigma, rng)
    angle, exponent = _between(-math.pi, math.pi, rng), _between(*_EXPONENTS[shape], rng)
    return blur_kernel(_draw_side(rng), (along, across), angle, shape, exponent)


def _draw_sinc(rng: torch.Generator) -> NDArray[np.float64]:
    side = _draw_side(rng)
    # Narrow kernels cannot hold low frequencies.
    return sinc_kernel(side, _between(math.pi / 3 if side < 13 else math.pi / 5, math.pi, rng))


def _draw_side(rng: torch.Generator) -> int:
    low, high = _SIDES_PX
    return low + 2 * int(torch.randint((high - low) // 2 + 1, (), generator=rng))


def _filter(image: Tensor, kernel: NDArray[np.float64] | None) -> Tensor:
    """Convolve each band of ``(1, bands, rows, cols)``; beyond the image it is mirrored."""
    if kernel is None:
        return image
    bands, reach = image.shape[1], len(kernel) // 2
    # Mirroring takes no more than there is.
    reach = min(reach, min(image.shape[-2:]) - 1)
    centre = len(kernel) // 2
    kept = kernel[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    weights = torch.from_numpy((kept / kept.sum()).astype(np.float32)).expand(bands, 1, -1, -1)
    return F.conv2d(F.pad(image, (reach,) * 4, mode="reflect"), weights, groups=bands)


def _resize(image: Tensor, size: tuple[int, int], rng: torch.Generator) -> Tensor:
    mode = _RESIZINGS[int(torch.randint(len(_RESIZINGS), (), generator=rng))]
    if tuple(image.shape[-2:]) == size:
        return image
    if mode == "area":
        return F.interpolate(image, size=size, mode=mode)
    return F.interpolate(image, size=size, mode=mode, align_corners=False)


def _chance(share: float, rng: torch.Generator) -> bool:
    return _between(0, 1, rng) < share


def _between(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))
