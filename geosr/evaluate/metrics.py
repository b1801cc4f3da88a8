"""Measures of how close an upscaled image is to the truth. Images are reflectance ``(bands, rows, cols)``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Correlation at which detail stops being right more often than wrong.
THRESHOLD = 0.5


def psnr(image: Tensor, truth: Tensor, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio, dB, over all bands and pixels."""
    error = (image.double() - truth.double()).square().mean()
    return float(10 * (peak**2 / error).log10())


def spectral_angle_deg(image: Tensor, truth: Tensor) -> float:
    """Mean angle between the spectra of image and truth, degrees (Kruse et al., 1993)."""
    image, truth = image.double(), truth.double()
    cosine = torch.nn.functional.cosine_similarity(image, truth, dim=0, eps=1e-12)
    return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())


def ssim(image: Tensor, truth: Tensor) -> float:
    """Structural similarity, mean over bands: Gaussian window of sigma 1.5 pixels, data range 1 (Wang et al., 2004).

    Each side is at least 11 pixels, the window's width.
    """
    # Waits until it is needed: training imports this module and has no use for scikit-image.
    from skimage.metrics import structural_similarity  # type: ignore[import-not-found,unused-ignore]

    similarity = structural_similarity(  # type: ignore[no-untyped-call,unused-ignore]
        image.double().numpy(),
        truth.double().numpy(),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def ergas(image: Tensor, truth: Tensor, scale: int) -> float:
    """Relative global error, per cent: 0 is perfect (Wald, 2002, *Data Fusion*, ERGAS).

    ``100 / scale`` times the root of the mean over bands of ``(rmse / mean of the truth)^2``.
    """
    image, truth = image.double(), truth.double()
    rmse = (image - truth).square().mean(dim=(1, 2)).sqrt()
    relative = rmse / truth.mean(dim=(1, 2))
    return float(100 / scale * relative.square().mean().sqrt())


def effective_resolution_px(image: Tensor, truth: Tensor) -> float:
    """Finest detail that is right, pixels: half the period at which Fourier ring correlation falls to 0.5.

    A grid's own limit is 1 pixel; infinite where nothing is right.
    """
    return resolution_px(ring_correlation(image, truth))


def ring_correlation(image: Tensor, truth: Tensor) -> NDArray[np.float64]:
    """Correlation within rings of equal spatial frequency, from none to the Nyquist frequency of these pixels.

    The mean over bands, after a Hann window (van Heel, 1987).
    """
    pairs = zip(image.double().numpy(), truth.double().numpy(), strict=True)
    curve: NDArray[np.float64] = np.mean([_ring_correlation(a, b) for a, b in pairs], axis=0)
    return curve


def resolution_px(curve: NDArray[np.float64]) -> float:
    """Half the period, pixels, at which a curve of :func:`ring_correlation` first falls below 0.5."""
    below = np.nonzero(curve < THRESHOLD)[0]
    if len(below) == 0:
        return 1.0
    last = int(below[0])
    if last == 0:
        return float("inf")
    # Rings are numbered in units of half a cycle per image's side, 0 to Nyquist.
    share = (curve[last - 1] - THRESHOLD) / (curve[last - 1] - curve[last])
    ring = last - 1 + share
    return float((len(curve) - 1) / ring)


def _ring_correlation(image: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation by ring, the last of which is the Nyquist frequency."""
    rows, cols = image.shape
    window = np.hanning(rows)[:, None] * np.hanning(cols)[None, :]
    first = np.fft.fft2((image - image.mean()) * window)
    second = np.fft.fft2((truth - truth.mean()) * window)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(cols)[None, :])
    rings = min(rows, cols) // 2
    index = np.rint(frequency / 0.5 * rings).astype(int).ravel()

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(index, values.ravel()).astype(np.float64)
        return sums[: rings + 1]

    cross = total((first * second.conj()).real)
    power = np.sqrt(total(np.abs(first) ** 2) * total(np.abs(second) ** 2))
    return np.where(power > 0, cross / np.where(power > 0, power, 1), 0)
