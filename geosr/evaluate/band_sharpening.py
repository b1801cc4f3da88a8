"""Quality of sharpened coarse bands, where the truth is known: on a scene reduced by the ratio (Wald, 1997)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geosr.evaluate.metrics import spectral_angle_deg
from geosr.model.fusion import FusionNetwork
from geosr.model.sensor import upsample

#: Pixels of the truth left out on each side: beyond a scene's edge nobody knows anything.
BORDER_PX = 8


@dataclass(frozen=True)
class SharpenedBands:
    """One way to sharpen coarse bands, by band in their order."""

    rmse: tuple[float, ...]
    """Root of the mean squared difference from the truth, reflectance."""
    spectral_angle_deg: float
    consistency: tuple[float, ...]
    """Mean absolute difference between the input and the result seen through the sensor, reflectance."""


def compare_reduced(model: FusionNetwork, truth: Tensor, guides: Tensor, unit: Tensor) -> dict[str, SharpenedBands]:
    """Bicubic interpolation, the same with back-projection, and a model, on a scene reduced by the model's scale.

    ``truth`` is ``(1, bands, rows, cols)`` in units ``(1, bands, 1, 1)`` of reflectance, its sides multiples of the
    scale; ``guides`` are the fine bands as the model would be given them, on the same grid.
    """
    sensor, scale = model.sensor, model.scale
    coarse = sensor.observe(truth)
    bicubic = upsample(coarse, scale)
    with torch.inference_mode():
        made = {
            "bicubic": bicubic,
            "back-projection": sensor.back_project(bicubic, coarse, steps=model.steps),
            "fusion": model(coarse, guides),
        }
    return {name: _measured(image, truth, coarse, unit, model) for name, image in made.items()}


def _measured(image: Tensor, truth: Tensor, coarse: Tensor, unit: Tensor, model: FusionNetwork) -> SharpenedBands:
    inside = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    error = ((image - truth) * unit)[inside]
    margin = -(-BORDER_PX // model.scale)
    seen = ((model.sensor.observe(image) - coarse) * unit)[..., margin:-margin, margin:-margin]
    return SharpenedBands(
        rmse=tuple(float(one) for one in error.square().mean(dim=(0, 2, 3)).sqrt()),
        spectral_angle_deg=spectral_angle_deg((image * unit)[inside][0], (truth * unit)[inside][0]),
        consistency=tuple(float(one) for one in seen.abs().mean(dim=(0, 2, 3))),
    )
