"""Coarse bands learned from themselves: a scene reduced by the ratio is the input, the scene as it was the truth.

That what holds between coarser grids holds between finer ones is Wald's protocol: Wald et al., "Fusion of satellite
images of different spatial resolutions", 1997. Guides are what they will be in use: for the first step the fine bands
seen at the coarse bands' resolution, for the second what the guide's model makes of them from a grid as much coarser.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from geosr.configuration import read_yaml
from geosr.errors import TrainingError
from geosr.model.card import FusionSize
from geosr.model.generator import Generator
from geosr.model.kernels import sensor_sigmas
from geosr.model.sensor import Sensor
from geosr.training.config import Count, Positive, Transfer
from geosr.training.data import read_bands

StackStep = Literal["coarse", "fine"]


class TwoGrids(BaseModel):
    """One scene whose coarse bands have pixels twice as large as the fine ones', or are on their grid, repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fine: str
    """File of the fine bands, relative to the data folder; bands are found by their descriptions."""
    coarse: str
    """File of the coarse ones; the same where both are on one grid."""
    share: float = Field(default=1.0, gt=0)
    """Share of the patches."""


class StackConfig(BaseModel):
    """Configuration of a stack's training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    seed: int = 0
    guide: str
    """The shipped model of the fine bands."""
    guides: tuple[str, ...]
    bands: tuple[str, ...]
    """Coarse bands."""
    full_scale: Positive = 10000
    """DN that stands for reflectance 1."""
    reference_reflectance: tuple[Positive, ...]
    """Reflectance that is 1 of the guides, then of the bands."""
    mtf_nyquist: tuple[Transfer, ...]
    """Likewise, each at the Nyquist frequency of its own grid."""
    back_projection_steps: int = Field(default=16, ge=0)
    coarse: FusionSize
    fine: FusionSize
    scenes: tuple[TwoGrids, ...] = Field(min_length=1)
    patch_px: Count = 16
    """Side of a patch, pixels of the reduced coarse bands."""
    batch: Count = 8
    steps: Count
    learning_rate: Positive = 1e-3
    warmup: int = Field(default=50, ge=0)
    ema: float = Field(default=0.995, ge=0, le=1)
    noise: float = 0.001
    """Standard deviation of the noise of the input, reflectance."""
    blur: float = 0.07
    """Fraction by which a patch's blur differs from the nominal one at most."""

    @model_validator(mode="after")
    def _check(self) -> StackConfig:
        count = len(self.guides) + len(self.bands)
        if len(self.reference_reflectance) != count or len(self.mtf_nyquist) != count:
            raise ValueError("reference_reflectance and mtf_nyquist have one value for each of guides and bands")
        return self

    def size(self, step: StackStep) -> FusionSize:
        return self.coarse if step == "coarse" else self.fine

    def transfers(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Modulation transfers of the guides, and of the bands."""
        count = len(self.guides)
        return self.mtf_nyquist[:count], self.mtf_nyquist[count:]

    def units(self) -> tuple[Tensor, Tensor]:
        """Reference reflectance of the guides, and of the bands: ``(1, bands, 1, 1)``."""
        every = torch.tensor(self.reference_reflectance).reshape(1, -1, 1, 1)
        return every[:, : len(self.guides)], every[:, len(self.guides) :]


@dataclass(frozen=True)
class Scale:
    """A scene at the coarse bands' own resolution: guides as a step will have them, and the truth, ``(bands, …)``."""

    guides: Tensor
    truth: Tensor


def read_stack_config(path: Path) -> StackConfig:
    """Read and check a YAML file, see :func:`geosr.configuration.read_yaml`. Raises :class:`TrainingError`."""
    return read_yaml(path, StackConfig, TrainingError)


def read_scene(scene: TwoGrids, config: StackConfig, data: Path) -> tuple[Tensor, Tensor]:
    """The fine bands ``(1, guides, 2 rows, 2 cols)`` and the coarse ``(1, bands, rows, cols)``, in their units."""
    guide_unit, unit = config.units()
    fine = read_bands(data / scene.fine, config.guides, config.full_scale)[None] / guide_unit
    coarse = read_bands(data / scene.coarse, config.bands, config.full_scale)[None] / unit
    if scene.fine == scene.coarse:
        fine, coarse = _even(fine), F.avg_pool2d(_even(coarse), 2)
    if tuple(fine.shape[2:]) != tuple(2 * side for side in coarse.shape[2:]):
        raise TrainingError(f"{scene.fine} has not exactly twice the rows and columns of {scene.coarse}")
    return fine, coarse


def scales(fine: Tensor, coarse: Tensor, config: StackConfig, step: StackStep, guide: Generator | None) -> list[Scale]:
    """A scene as the step's truth, once for each place where the reduced pixels may begin."""
    transfers, _ = config.transfers()
    seen = Sensor(sensor_sigmas(transfers, 2), 2).observe(fine)
    scale = config.size(step).scale
    made = []
    for top in range(scale):
        for left in range(scale):
            guides, truth = (_whole_blocks(image[:, :, top:, left:], scale) for image in (seen, coarse))
            if step == "fine":
                assert guide is not None
                with torch.inference_mode():
                    guides = guide(guide.sensor.observe(guides))
            made.append(Scale(guides[0].clone(), truth[0].clone()))
    return made


def _even(image: Tensor) -> Tensor:
    return _whole_blocks(image, 2)


def _whole_blocks(image: Tensor, side: int) -> Tensor:
    rows, cols = (length // side * side for length in image.shape[2:])
    return image[:, :, :rows, :cols]
