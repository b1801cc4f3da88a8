"""From high resolution to what the sensor would have recorded: blur, misregistration, sampling and noise.

The ranges are those of Sentinel-2's 10 m bands. Bicubic reduction is never used: a network trained on it meets an
image sharper than any that a sensor delivers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geosr.model.kernels import gaussian_taps
from geosr.model.sensor import blur_and_sample


@dataclass(frozen=True)
class Degradation:
    """Ranges from which each image's degradation is drawn."""

    sigma: tuple[float, float] = (1.7, 2.6)
    """Blur of an image, HR pixels: uniform in this range."""
    sigma_band_jitter: float = 0.05
    """Each band's blur differs from the image's by up to this fraction."""
    anisotropy: float = 0.1
    """Blur along and across track differ by up to this fraction."""
    shift_hr_px: int = 1
    """Each band of truth and input is shifted together by up to this many HR pixels, as misregistered bands are."""
    noise: tuple[float, float] = (0.0004, 0.002)
    """Standard deviation of the noise of an image, reflectance: log-uniform in this range."""
    noise_band_jitter: float = 0.0
    """Each band's noise is the image's times or divided by up to one plus this."""
    noise_of_signal: float = 0.0
    """Up to this share of the noise's variance is proportional to the signal, as photon noise is."""
    noise_resampled: float = 0.0
    """Share of images whose noise is correlated between neighbours, as bilinear resampling makes it."""


def misregister(hr: Tensor, degradation: Degradation, rng: torch.Generator) -> Tensor:
    """Shift each band of ``(n, bands, rows, cols)`` by whole pixels, and crop the margin that this uncovers."""
    reach = degradation.shift_hr_px
    if reach == 0:
        return hr
    images, bands, rows, cols = hr.shape
    shifts = torch.randint(-reach, reach + 1, (images, bands, 2), generator=rng)
    # Half of the images stay registered: most of Sentinel-2 is, to better than a tenth of a pixel.
    shifts[torch.rand(images, generator=rng) < 0.5] = 0
    out = hr.new_empty(images, bands, rows - 2 * reach, cols - 2 * reach)
    for i in range(images):
        for b in range(bands):
            y, x = (int(v) + reach for v in shifts[i, b])
            out[i, b] = hr[i, b, y : y + out.shape[2], x : x + out.shape[3]]
    return out


def degrade(hr: Tensor, scale: int, degradation: Degradation, rng: torch.Generator, noise_pairs: int = 0) -> Tensor:
    """Blur, sample and add noise to ``(n, bands, scale rows, scale cols)`` reflectance.

    Each of the last ``noise_pairs`` images has the blur of the image ``noise_pairs`` before it. Half of them have noise
    of their own, the others none.
    """
    images, bands, rows, cols = hr.shape
    sigma = _uniform(degradation.sigma, (images, 1), rng) * _around_one(
        degradation.sigma_band_jitter, (images, bands), rng
    )
    aspect = _around_one(degradation.anisotropy / 2, (images, 1), rng)
    if noise_pairs:
        for one in (sigma, aspect):
            one[-noise_pairs:] = one[-2 * noise_pairs : -noise_pairs]
    taps_y, taps_x = (
        torch.from_numpy(gaussian_taps(one.flatten().numpy(), scale)) for one in (sigma * aspect, sigma / aspect)
    )
    lr = blur_and_sample(hr.reshape(1, images * bands, rows, cols), taps_y, taps_x, scale)
    lr = lr.reshape(images, bands, rows // scale, cols // scale)
    noise = _noise(lr, degradation, rng)
    if noise_pairs:
        noise[-noise_pairs:] *= (torch.rand(noise_pairs, 1, 1, 1, generator=rng) < 0.5).float()
    return lr + noise


def _noise(lr: Tensor, degradation: Degradation, rng: torch.Generator) -> Tensor:
    images, bands = lr.shape[:2]
    low, high = (torch.tensor(v).log() for v in degradation.noise)
    sigma = _uniform((float(low), float(high)), (images, 1, 1, 1), rng).exp()
    noise = torch.randn(lr.shape, generator=rng)
    if degradation.noise_resampled:
        noise = _resampled(noise, degradation.noise_resampled, rng)
    if degradation.noise_band_jitter:
        spread = float(torch.tensor(1 + degradation.noise_band_jitter).log())
        sigma = sigma * _uniform((-spread, spread), (images, bands, 1, 1), rng).exp()
    if degradation.noise_of_signal:
        share = degradation.noise_of_signal * torch.rand(images, bands, 1, 1, generator=rng)
        signal = lr.clamp(min=0)
        relative = signal / signal.mean(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
        sigma = sigma * (1 - share + share * relative).sqrt()
    return sigma * noise


def _resampled(noise: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Move the noise of a ``share`` of images by a part of a pixel, bilinearly, and restore its deviation."""
    images = len(noise)
    parts = 0.5 * torch.rand(images, 2, generator=rng)
    parts[torch.rand(images, generator=rng) >= share] = 0
    for axis in (-2, -1):
        part = parts[:, axis].reshape(-1, 1, 1, 1)
        noise = ((1 - part) * noise + part * noise.roll(1, dims=axis)) / ((1 - part) ** 2 + part**2).sqrt()
    return noise


def _uniform(bounds: tuple[float, float], shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=rng)


def _around_one(spread: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return _uniform((1 - spread, 1 + spread), shape, rng)
