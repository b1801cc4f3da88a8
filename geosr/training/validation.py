"""Validation of a run on the way: held-out imagery seen through the nominal blur."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geosr.evaluate.metrics import psnr
from geosr.model.generator import Generator
from geosr.training.config import TrainingConfig
from geosr.training.data import read_whole_source, reduce_by_area, whole_blocks

#: Standard deviation of the noise, reflectance.
_NOISE = 0.001


@dataclass(frozen=True)
class Validation:
    """One evaluation of a model."""

    gains_db: dict[str, float]
    """PSNR over bicubic interpolation's, averaged over each set's images."""
    samples: dict[str, tuple[Tensor, Tensor, Tensor]]
    """Bicubic, model and truth of each set's first image, reflectance ``(bands, rows, cols)``."""


class Validator:
    """Held-out imagery in memory."""

    def __init__(self, config: TrainingConfig, data: Path) -> None:
        self._reference = torch.tensor(config.reference_reflectance).reshape(1, -1, 1, 1)
        self._sets: dict[str, list[Tensor]] = {}
        for source in config.validation:
            for factor in source.reduce:
                images = [reduce_by_area(image, factor) for image in read_whole_source(source, config, data)]
                self._sets[f"{source.glob}/{factor}"] = [whole_blocks(image, config.scale) for image in images]

    def __call__(self, model: Generator) -> Validation:
        bicubic = Generator(model.sensor, steps=0)
        device = model.sensor.taps.device
        reference = self._reference.to(device)
        gains: dict[str, float] = {}
        samples: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        with torch.inference_mode():
            for name, images in self._sets.items():
                rng = torch.Generator().manual_seed(0)
                total = 0.0
                for image in images:
                    hr = image[None].to(device)
                    lr = model.sensor.observe(hr)
                    lr = (lr + _NOISE * torch.randn(lr.shape, generator=rng).to(device)) / reference
                    sr, plain = model(lr) * reference, bicubic(lr) * reference
                    total += psnr(sr, hr) - psnr(plain, hr)
                    samples.setdefault(name, (plain[0].cpu(), sr[0].cpu(), hr[0].cpu()))
                gains[name] = total / len(images)
        return Validation(gains, samples)
