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
from geosr.engine import Device, EngineName, Precision, choose_engine
from geosr.engine.chunking import check_core
from geosr.inference.upscaler import ModelSpec
from geosr.model.bands import map_bands
from geosr.model.card import Calibration, ModelCard
from geosr.model.zoo import read_card
from geosr.run.uncertainty_layers import check_calibrated
from tiling import ChunkPlan, whole


@dataclass(frozen=True)
class Method:
    """Model, engine and options by which images are upscaled."""

    model: str
    """Name of a shipped model or path of a card."""
    engine: EngineName
    device: Device
    precision: Precision
    core_px: int
    """Side of a chunk, pixels of the source."""
    uncertainty: bool
    sharpness: float
    """Share of the model's visual weights."""
    card: ModelCard = field(init=False)
    calibration: Calibration | None = field(init=False)
    """None where no uncertainty is asked for."""

    def __post_init__(self) -> None:
        card = read_card(self.model, self.sharpness)
        object.__setattr__(self, "card", card)
        object.__setattr__(self, "calibration", check_calibrated(card) if self.uncertainty else None)

    def served(self, names: Sequence[str]) -> list[int]:
        """Indices of the bands that the model serves. Raises :class:`ModelError` when it lacks one."""
        keep = map_bands(names, self.card, picture=False).keep
        return [i for i, name in enumerate(names) if name in keep]

    def __call__(self, data: Any, geobox: GeoBox, specs: tuple[BandSpec, ...]) -> tuple[Any, ...]:
        """Upscale ``(…, band, y, x)``, NumPy or dask; leading dimensions are done one by one.

        Returns the image and, with uncertainty, its half-widths and the measured fraction ``(…, 1, y, x)``.
        """
        check_core(self.card, self.core_px)
        plan = ChunkPlan(geobox, whole(geobox), self.card.scale, self.core_px, self.card.halo_px)
        engine = choose_engine(
            self.engine,
            self.device,
            self.precision,
            network=self.card.learned,
            stack=self.card.stack is not None,
        )
        spec = ModelSpec(
            self.model, self.card.digest_in(engine.precision), engine, specs, picture=False, sharpness=self.sharpness
        )
        lead = data.shape[:-3]
        images = [upscale_image(data[index], plan, spec, uncertainty=self.uncertainty) for index in np.ndindex(*lead)]
        stack: Any = dask.array.stack if isinstance(data, dask.array.Array) else np.stack
        return tuple(stack(parts).reshape(*lead, *parts[0].shape) for parts in zip(*images, strict=True))
