"""All figures of one contender on one set of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geosr.evaluate.consistency import consistency
from geosr.evaluate.correctness import correctness
from geosr.evaluate.gain_and_shift import gain_and_bias, registration_shift_px
from geosr.evaluate.metrics import ergas, psnr, resolution_px, ring_correlation, spectral_angle_deg, ssim
from geosr.model.sensor import Sensor

#: Images of a mosaic on which the effective resolution is measured, down and across: one chip is too small for it.
_MOSAIC = (4, 5)

#: Points that a curve is reduced to.
_POINTS = 64

#: Metres of a Sentinel-2 pixel of the bands that are upscaled.
_INPUT_GSD_M = 10


@dataclass(frozen=True)
class Figures:
    """Means over the images of a set; NaN where a measure is not defined for any of them."""

    psnr_db: float
    ssim: float
    spectral_angle_deg: float
    ergas: float
    consistency: float
    """Mean absolute difference between the input and the result seen through the sensor, reflectance."""
    opensr_reflectance: float
    """The three of opensr-test's consistency."""
    opensr_spectral_deg: float
    opensr_shift_lr_px: float
    improvement: float
    """The three of its correctness, which sum to 1."""
    omission: float
    hallucination: float
    gain: dict[str, float]
    """By band, of the result against the truth, both seen through the sensor."""
    bias: dict[str, float]
    """Reflectance, likewise."""
    registration_shift_px: float
    """Length of the result's displacement from the truth, HR pixels."""
    effective_resolution_lr_px: float
    """On a mosaic of the set."""
    effective_resolution_hr_px: float
    effective_resolution_m: float
    """On the grid of a product from 10 m bands: 2.5 is its limit."""


@dataclass(frozen=True)
class Curve:
    """Fourier ring correlation with the truth."""

    cycles_per_lr_px: tuple[float, ...]
    """0.5 is the input's Nyquist frequency, and half the scale the output's."""
    correlation: tuple[float, ...]


def measure(
    results: Sequence[Tensor], truths: Sequence[Tensor], inputs: Sequence[Tensor], sensor: Sensor, bands: Sequence[str]
) -> tuple[Figures, Curve]:
    """Figures of results ``(bands, scale rows, scale cols)`` whose truths and inputs are given, all reflectance."""
    each = [_of_image(*three, sensor) for three in zip(results, truths, inputs, strict=True)]
    lines = [
        gain_and_bias(sensor.observe(sr[None])[0], sensor.observe(hr[None])[0])
        for sr, hr in zip(results, truths, strict=True)
    ]
    rings = ring_correlation(_mosaic(results), _mosaic(truths))
    resolution_hr_px = resolution_px(rings)
    figures = Figures(
        **{name: _mean([one[name] for one in each]) for name in each[0]},
        gain={band: _mean([line[i].gain for line in lines]) for i, band in enumerate(bands)},
        bias={band: _mean([line[i].bias for line in lines]) for i, band in enumerate(bands)},
        effective_resolution_hr_px=resolution_hr_px,
        effective_resolution_lr_px=resolution_hr_px / sensor.scale,
        effective_resolution_m=resolution_hr_px / sensor.scale * _INPUT_GSD_M,
    )
    groups = np.array_split(np.arange(len(rings)), min(_POINTS, len(rings)))
    nyquist = sensor.scale / 2
    curve = Curve(
        cycles_per_lr_px=tuple(float(group.mean() / (len(rings) - 1) * nyquist) for group in groups),
        correlation=tuple(float(rings[group].mean()) for group in groups),
    )
    return figures, curve


def _of_image(sr: Tensor, hr: Tensor, lr: Tensor, sensor: Sensor) -> dict[str, float]:
    agreement = consistency(sr, lr)
    detail = correctness(sr, lr, hr)
    return {
        "psnr_db": psnr(sr, hr),
        "ssim": ssim(sr, hr),
        "spectral_angle_deg": spectral_angle_deg(sr, hr),
        "ergas": ergas(sr, hr, sensor.scale),
        "consistency": float((sensor.observe(sr[None])[0] - lr).abs().mean()),
        "opensr_reflectance": agreement.reflectance,
        "opensr_spectral_deg": agreement.spectral_deg,
        "opensr_shift_lr_px": agreement.shift_lr_px,
        "improvement": detail.improvement,
        "omission": detail.omission,
        "hallucination": detail.hallucination,
        "registration_shift_px": math.hypot(*registration_shift_px(sr, hr)),
    }


def _mean(values: Sequence[float]) -> float:
    """Mean of those that are defined."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _mosaic(images: Sequence[Tensor]) -> Tensor:
    """Images of the first one's size, side by side: 20, or as many as make a rectangle."""
    alike = [image for image in images if image.shape == images[0].shape]
    down = min(_MOSAIC[0], math.isqrt(len(alike)))
    across = min(_MOSAIC[1], len(alike) // down)
    rows = [torch.cat(alike[i * across : (i + 1) * across], dim=2) for i in range(down)]
    return torch.cat(rows, dim=1)
