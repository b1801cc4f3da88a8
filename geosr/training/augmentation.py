"""Changes to training patches beyond the sensor's own degradation: calm ground, bright spots, JPEG compression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from geosr.training.random_draws import between, chance


@dataclass(frozen=True)
class Augmentation:
    """Shares of patches that are changed, and by how much. Nothing is changed by default."""

    calm: float = 0.0
    """Share of patches whose contrast is reduced, as calm ground is most of the Earth and little of a town."""
    contrast: tuple[float, float] = (0.05, 1.0)
    """Contrast that such a patch keeps, as a fraction: log-uniform in this range."""
    bright: float = 0.0
    """Share of patches with bright spots: roofs, edges of clouds, saturated pixels."""
    brightness: tuple[float, float] = (0.3, 1.5)
    """Reflectance of a spot, log-uniform in this range."""
    jpeg: float = 0.0
    """Share of the patches without infrared (``missing_bands``) whose low resolution is compressed as JPEG."""
    quality: tuple[int, int] = (50, 95)
    """JPEG quality, uniform in this range."""


def calm(hr: Tensor, augmentation: Augmentation, rng: torch.Generator) -> Tensor:
    """Reduce the contrast of a share of the patches of ``(n, bands, rows, cols)`` around each band's mean."""
    low, high = map(math.log, augmentation.contrast)
    for i in range(len(hr)):
        if chance(augmentation.calm, rng):
            mean = hr[i].mean(dim=(-2, -1), keepdim=True)
            hr[i] = mean + math.exp(between(low, high, rng)) * (hr[i] - mean)
    return hr


def brighten(hr: Tensor, augmentation: Augmentation, rng: torch.Generator, around_px: int) -> tuple[Tensor, Tensor]:
    """Lay bright rectangles of 1 to 16 pixels a side over a share of the patches of ``(n, bands, rows, cols)``.

    Also returns, ``(n, 1, rows, cols)``, 0 up to ``around_px`` from a rectangle and 1 elsewhere.
    """
    rows, cols = hr.shape[-2:]
    quiet = torch.ones(len(hr), 1, rows, cols)
    low, high = map(math.log, augmentation.brightness)
    for i in range(len(hr)):
        if not chance(augmentation.bright, rng):
            continue
        for _ in range(1 + int(between(0, 3, rng))):
            height, width = (int(math.exp(between(0, math.log(16.99), rng))) for _ in range(2))
            y, x = int(between(0, rows - height, rng)), int(between(0, cols - width, rng))
            colour = 1 + 0.2 * (2 * torch.rand(hr.shape[1], 1, 1, generator=rng) - 1)
            hr[i, :, y : y + height, x : x + width] = math.exp(between(low, high, rng)) * colour
            top, left = max(0, y - around_px), max(0, x - around_px)
            quiet[i, :, top : y + height + around_px, left : x + width + around_px] = 0
    return hr, quiet


def compress(lr: Tensor, rgb: list[int], augmentation: Augmentation, rng: torch.Generator) -> Tensor:
    """Compress ``(bands, rows, cols)`` reflectance as a JPEG file of 8 bits; other bands become the mean of ``rgb``."""
    low, high = augmentation.quality
    quality = int(between(low, high + 1, rng))
    colours = lr[rgb] if len(rgb) == 3 else lr[rgb[:1]].expand(3, -1, -1)
    pixels = (colours * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    read = torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32) / 255).permute(2, 0, 1)
    out = read.mean(dim=0, keepdim=True).repeat(len(lr), 1, 1)
    if len(rgb) == 3:
        out[rgb] = read
    return out
