"""Fidelity measures on reflectance."""

from __future__ import annotations

from torch import Tensor


def psnr(image: Tensor, truth: Tensor, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio, dB, over all bands and pixels."""
    error = (image.double() - truth.double()).square().mean()
    return float(10 * (peak**2 / error).log10())
