"""A scene that is open, and what it takes to make tiles of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from catalog import Scene
from catalog.fills import stray_fills
from catalog.radiometry import reflectance_of
from geosr import hardware
from geosr.engine import EngineChoice, Parallel
from geosr.inference.scene_calibration import calibrate_area
from geosr.inference.upscaled_window import SceneUncertainty, UpscaledWindow
from geosr.inference.upscaler import ModelSpec, Upscaler, upscaler_of
from geosr.run.product import detail_of, effective_resolution
from geosr.service.geography import bounds_of, name_of, outline_of
from geosr.service.messages import for_clients
from geosr.service.sampling import percentiles, squares
from tiling import grow, read_reflected, whole

_log = logging.getLogger(__name__)

#: Pixels darker or brighter than a picture shows, percent.
_CLIPPED = (1.0, 99.0)

Limits = Mapping[str, tuple[float, float]]


class FurtherDates(Protocol):
    """Further scenes that correct the image of a reference."""

    @property
    def reference(self) -> LiveScene:
        """The scene whose image it is."""

    def upscaled(self, window: Window) -> UpscaledWindow:
        """Upscale a window of the reference's grid."""


@dataclass
class LiveScene:
    """A scene, and what it takes to make tiles of it."""

    id: str
    title: str
    kind: str
    scene: Scene
    model: ModelSpec
    created: float
    key_id: str | None = None
    """Key that it belongs to; None for everybody's."""
    dates: FurtherDates | None = None
    """Further scenes that correct its image; None where it is shown alone."""
    _uncertainty: SceneUncertainty | None = field(default=None, repr=False)
    _sharpened: dict[float, ModelSpec] = field(default_factory=dict, repr=False)

    @property
    def upscaler(self) -> Upscaler:
        return self.upscaler_at(0)

    def upscaler_at(self, sharpness: float) -> Upscaler:
        """The model with a share of its visual weights, ready for this scene's bands."""
        return upscaler_of(self.model_at(sharpness), Parallel(threads=hardware.cores()))

    def model_at(self, sharpness: float) -> ModelSpec:
        """The model with a share of its visual weights. Raises :class:`geosr.errors.UsageError` where it has none."""
        if not sharpness:
            return self.model
        if sharpness not in self._sharpened:
            ref = replace(self.model.model, sharpness=sharpness)
            self._sharpened[sharpness] = ModelSpec.of(
                ref, EngineChoice().for_card(ref.card), self.scene.bands, plain_image=self.scene.plain_image
            )
        return self._sharpened[sharpness]

    @property
    def half_width_dtype(self) -> np.dtype[Any]:
        """Type in which half-widths are stored, as in the batch product."""
        floats = np.issubdtype(np.dtype(self.scene.dtype), np.floating)
        return np.dtype(self.scene.dtype if floats else "uint16")

    @property
    def half_width_nodata(self) -> float:
        return float("nan") if self.half_width_dtype.kind == "f" else 65535.0

    @property
    def calibrated(self) -> bool:
        """True when its model has calibrated half-widths."""
        return self.model.card.calibration is not None

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read DN of a window and the pixels that were measured, both ``(bands, rows, cols)``.

        Raises :class:`catalog.SourceError` for fill values that nothing declares, as a run does for its chunks.
        """
        pixels, valid = self.scene.reader.read(window)
        for note in stray_fills(self.scene, pixels, valid):
            _log.info("scene %s: %s", self.id, note)
        return pixels, valid

    def upscaled(self, window: Window, sharpness: float = 0, *, uncertainty: bool = False) -> UpscaledWindow:
        """Upscale a window of its grid, which may reach beyond its edges: there are its reflections.

        Windows of one shape are best, for each shape is compiled anew. Of several dates there is an image alone, at
        sharpness 0.
        """
        if self.dates is not None:
            return self.dates.upscaled(window)
        upscaler = self.upscaler_at(sharpness)
        pixels, valid = read_reflected(self.read, grow(window, upscaler.margin_px), self.scene.geobox.shape)
        return upscaler(pixels, valid, uncertainty=self.uncertainty() if uncertainty else None)

    def uncertainty(self) -> SceneUncertainty:
        """Calibration of this scene's half-widths, as in the batch product; measured once."""
        if self._uncertainty is None:
            calibration = self.model.card.calibration
            assert calibration is not None
            area = whole(self.scene.geobox)
            self._uncertainty = calibrate_area(area, self.read, self.upscaler, calibration)
        return self._uncertainty

    @cached_property
    def limits(self) -> Limits:
        """Reflectance that pictures show from dark to bright, by band."""
        if self.dates is not None:
            return self.dates.reference.limits
        samples = self.samples(whole(self.scene.geobox))
        pairs = (percentiles(values, *_CLIPPED) for values in samples)
        return {band.name: pair for band, pair in zip(self.scene.bands, pairs, strict=True)}

    def samples(self, area: Window) -> NDArray[np.float32]:
        """Reflectance of pixels all over an area, ``(bands, pixels)``; NaN where nothing was measured."""
        found: list[NDArray[np.float32]] = []
        for window in squares(area):
            pixels, valid = self.read(window)
            found.append(np.where(valid, self.reflectance(pixels), np.nan).reshape(len(pixels), -1))
        return np.concatenate(found, axis=1)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north, degrees."""
        return bounds_of(self.scene.geobox)

    def reflectance(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Convert DN to reflectance, ``(bands, rows, cols)``."""
        bands = self.scene.bands
        return reflectance_of(pixels, [band.scale for band in bands], [band.offset for band in bands])

    def describe(self) -> dict[str, Any]:
        """Description of the scene for clients."""
        return dict(self._description)

    @cached_property
    def _description(self) -> dict[str, Any]:
        # Nothing of it changes while the scene is open, and lists of scenes are asked for again and again.
        scene, card = self.scene, self.model.card
        return {
            "id": self.id,
            "title": self.title,
            "kind": self.kind,
            "datetime": None if scene.datetime is None else scene.datetime.isoformat(),
            "bbox": [round(value, 7) for value in self.bounds],
            "footprint": outline_of(scene.geobox),
            "crs": name_of(scene.geobox),
            "size_px": list(scene.geobox.shape.wh),
            "gsd_m": scene.bands[0].gsd_m,
            "bands": [
                {"name": band.name, "scale": band.scale, "offset": band.offset, "nodata": band.nodata}
                for band in scene.bands
            ],
            "limits": {name: list(pair) for name, pair in self.limits.items()},
            "model": card.name,
            "scale": card.scale,
            "uncertainty": card.calibration is not None,
            "visual": card.visual is not None,
            "several_dates": card.stack is None and not scene.plain_image,
            "level": card.calibration.level if card.calibration is not None else None,
            "effective_resolution": effective_resolution(scene, card),
            "detail": detail_of(card),
            "notes": [for_clients(note) for note in scene.notes],
        }
