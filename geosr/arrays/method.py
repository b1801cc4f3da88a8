"""A model and an engine, chosen once for all images of an array or Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dask.array
import numpy as np
from odc.geo.geobox import GeoBox

from catalog import BandSpec
from geosr.arrays.chunks import upscale_image
from geosr.engine import EngineChoice
from geosr.engine.chunking import check_core
from geosr.inference.upscaler import ModelSpec
from geosr.model.bands import map_bands
from geosr.model.card import Calibration, ModelCard
from geosr.model.zoo import ModelRef
from geosr.run.uncertainty_layers import check_calibrated
from tiling import ChunkPlan, whole


@dataclass(frozen=True)
class Method:
    """Model, engine and options by which images are upscaled."""

    model: ModelRef
    engine: EngineChoice
    core_px: int
    """Side of a chunk, pixels of the source."""
    uncertainty: bool
    calibration: Calibration | None = field(init=False)
    """None where no uncertainty is asked for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "calibration", check_calibrated(self.card) if self.uncertainty else None)

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self.model.card

    def __call__(self, data: Any, geobox: GeoBox, specs: tuple[BandSpec, ...]) -> tuple[Any, ...]:
        """Upscale ``(…, band, y, x)``, NumPy or dask; leading dimensions are done one by one.

        Returns the image and, with uncertainty, its half-widths and the measured fraction ``(…, 1, y, x)``.
        """
        check_core(self.card, self.core_px)
        plan = ChunkPlan(geobox, whole(geobox), self.card.scale, self.core_px, self.card.halo_px)
        spec = ModelSpec.of(self.model, self.engine.for_card(self.card), specs, plain_image=False)
        lead = data.shape[:-3]
        images = [upscale_image(data[index], plan, spec, uncertainty=self.uncertainty) for index in np.ndindex(*lead)]
        stack: Any = dask.array.stack if isinstance(data, dask.array.Array) else np.stack
        return tuple(stack(parts).reshape(*lead, *parts[0].shape) for parts in zip(*images, strict=True))


def served(card: ModelCard, names: Sequence[str]) -> list[int]:
    """Indices of the bands that a model serves. Raises :class:`ModelError` when it lacks one."""
    keep = map_bands(names, card, plain_image=False).keep
    return [i for i, name in enumerate(names) if name in keep]
