"""Errors of a model on a scene, measured on the scene itself.

The scene seen through the sensor once more is an input four times coarser, to which the scene is the truth. A place
whose content is harder than what the half-widths were calibrated on is so at either scale (images repeat themselves
across scales: Glasner, Bagon and Irani, "Super-Resolution from a Single Image", 2009).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geosr.model.generator import Generator
from geosr.model.measured_fraction import NOISE


def calibration_ratios(model: Generator, lr: Tensor, reference: Tensor, halo_px: int) -> Tensor:
    """``|error| / half-width`` of every pixel of ``lr``, when it is made from itself; the half-widths uncalibrated.

    ``lr`` is ``(bands, rows, cols)`` in units of ``reference``, its sides multiples of the scale; ``reference`` is
    reflectance, ``(bands, 1, 1)`` with or without an axis before.
    """
    rng = torch.Generator().manual_seed(0)
    coarse = model.sensor.observe(lr[None])
    noise = torch.randn(coarse.shape, generator=rng).to(lr.device) * (NOISE / reference)
    padded = F.pad(coarse + noise, (halo_px, halo_px, halo_px, halo_px), mode="replicate")
    image, half_width = model.with_half_width(padded)
    margin = halo_px * model.scale
    error = (image[0, :, margin:-margin, margin:-margin] - lr).abs()
    return error * model.width_factors[0] / half_width[0, :, margin:-margin, margin:-margin]
