"""Upscaling of brightness in memory, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rasterio.windows import Window

import tiling
from catalog import BandSpec
from geosr.engine import EngineChoice
from geosr.engine.chunking import choose_core
from geosr.inference.upscaler import ModelSpec, upscaler_of
from geosr.model.zoo import ModelRef
from tiling import ChunkPlan

_NAMES = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class Brightness:
    """Values that are black and white."""

    black: float
    white: float

    @classmethod
    def of_bits(cls, bits: int) -> Brightness:
        """From 0 to all bits set."""
        return cls(0.0, float(2**bits - 1))


@dataclass(frozen=True)
class ImageUpscaler:
    """A model for plain images of any size."""

    model: ModelRef
    engine: EngineChoice

    @property
    def scale(self) -> int:
        """HR pixels per pixel, along each axis."""
        return self.model.card.scale

    def __call__(self, pixels: NDArray[Any], brightness: Brightness) -> NDArray[Any]:
        """Upscale an image.

        Parameters
        ----------
        pixels
            Integers ``(1 or 3, rows, cols)``: grey, or red, green and blue.
        brightness
            Values that are black and white.

        Returns
        -------
        numpy.ndarray
            Integers of the same type between black and white, ``scale`` times finer along rows and columns.

        """
        card, spec = self.model.card, self.engine.for_card(self.model.card)
        bands = tuple(_band(name, brightness) for name in _NAMES[len(pixels)])
        upscaler = upscaler_of(ModelSpec.of(self.model, spec, bands, plain_image=True))
        _, rows, cols = pixels.shape
        core = choose_core(card, spec, len(bands), (rows, cols))
        extent = GeoBox((rows, cols), Affine.identity(), None)
        plan = ChunkPlan(extent, tiling.whole(extent), card.scale, core, card.halo_px)
        image = np.empty((len(pixels), rows * card.scale, cols * card.scale), pixels.dtype)

        def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            part = pixels[(slice(None), *window.toslices())]
            return part, np.ones(part.shape, dtype=bool)

        for chunk in plan:
            around = tiling.grow(chunk.core, upscaler.margin_px)
            made = upscaler(*tiling.read_reflected(read, around, extent.shape)).image
            image[(slice(None), *chunk.out.toslices())] = made
        return np.clip(image, int(brightness.black), int(brightness.white), out=image)


def _band(name: str, brightness: Brightness) -> BandSpec:
    span = brightness.white - brightness.black
    return BandSpec(
        name=name,
        gsd_m=None,
        scale=1 / span,
        offset=-brightness.black / span,
        nodata=None,
        mtf_nyquist=None,
        description=name,
    )
