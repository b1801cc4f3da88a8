"""Noise, blur and registration of a scene from any source, and how far they are from its sensor's profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

import catalog
from catalog import SceneRequest
from catalog.radiometry import reflectance_of
from geosr.evaluate.scene.blur import Blur, measure_blur
from geosr.evaluate.scene.noise import Noise, measure_noise
from geosr.evaluate.scene.registration import BandRegistration, measure_registration
from geosr.model.kernels import mtf_to_sigma

#: Side of the part that is measured, pixels: the middle of larger scenes.
_MOST_PX = 2048

#: Times by which a scene's noise, and share by which its blur may differ from the profile; shift of bands, pixels.
FAR_NOISE, FAR_BLUR, FAR_SHIFT_PX = 3.0, 0.2, 0.3


@dataclass(frozen=True)
class BandQuality:
    """One band."""

    name: str
    noise: Noise
    blur: Blur
    registration: BandRegistration
    """Against the scene's first band."""
    noise_dn: float
    """The noise in DN."""
    nominal_noise: float | None
    """Standard deviation that the sensor's profile says, reflectance."""
    nominal_blur_px: float | None
    """Blur of the modulation transfer that the source assumes, pixels."""


@dataclass(frozen=True)
class SceneQuality:
    """Measurements of a scene."""

    source: str
    window: tuple[int, int, int, int]
    """Row, column, rows and columns of the part that was measured."""
    bands: tuple[BandQuality, ...]
    warnings: tuple[str, ...]
    """Warnings where the scene is far from the profile of its sensor."""

    def as_json(self) -> dict[str, Any]:
        """Everything; what is not a finite number is null."""
        content: dict[str, Any] = _plain(asdict(self))
        return content


def measure_scene(request: SceneRequest) -> SceneQuality:
    """Measure a source's bands, each by itself, and their registration.

    Raises the errors of :func:`catalog.open_scene`.
    """
    scene = catalog.open_scene(request)
    window = _middle(scene.area)
    dn, measured = scene.reader.read(window)
    scales, offsets = ([getattr(band, name) for band in scene.bands] for name in ("scale", "offset"))
    reflectance = reflectance_of(dn, scales, offsets, np.float64)
    profile = catalog.read_sensor(scene.sensor or "sentinel-2")
    known = {band.name: profile.band(band.name) for band in scene.bands}
    bands = tuple(
        measure_band(
            band.name,
            reflectance[i],
            measured[i],
            reflectance[0],
            measured[0],
            abs(band.scale),
            nominal_noise=nominal.noise_reflectance if (nominal := known[band.name]) else None,
            mtf_nyquist=band.mtf_nyquist,
        )
        for i, band in enumerate(scene.bands)
    )
    place = (int(window.row_off), int(window.col_off), int(window.height), int(window.width))
    return SceneQuality(scene.id, place, bands, far_from_profile(bands))


def measure_band(
    name: str,
    band: NDArray[np.float64],
    measured: NDArray[np.bool_],
    first: NDArray[np.float64],
    first_measured: NDArray[np.bool_],
    resolution: float,
    *,
    nominal_noise: float | None = None,
    mtf_nyquist: float | None = None,
) -> BandQuality:
    """Measure reflectance ``(rows, cols)`` of one band; ``resolution`` is the reflectance of one DN."""
    noise = measure_noise(band, measured, resolution)
    return BandQuality(
        name,
        noise,
        measure_blur(band, measured, noise.deviation),
        measure_registration(band, first, measured & first_measured),
        noise.deviation / resolution,
        nominal_noise,
        None if mtf_nyquist is None else mtf_to_sigma(mtf_nyquist, 1),
    )


def far_from_profile(bands: Sequence[BandQuality]) -> tuple[str, ...]:
    """Sentences about bands whose noise, blur or place is far from what their sensor's profile says."""
    found = []
    for one in bands:
        noise, blur, shift = one.noise.deviation, one.blur.sharpest_px, one.registration.median_px
        if one.nominal_noise is not None and not _within(noise, one.nominal_noise, FAR_NOISE):
            found.append(f"{one.name} has noise of {noise:.4f} reflectance, its profile {one.nominal_noise:.4f}")
        if one.nominal_blur_px is not None and not _within(blur, one.nominal_blur_px, 1 + FAR_BLUR):
            found.append(
                f"{one.name}'s sharpest edges have a blur of {blur:.2f} pixels, its profile {one.nominal_blur_px:.2f}"
            )
        if shift > FAR_SHIFT_PX:
            found.append(f"{one.name} lies {shift:.2f} pixels from {bands[0].name}")
    return tuple(found)


def _within(value: float, nominal: float, factor: float) -> bool:
    """Tell if a value is near; one that could not be measured counts as near."""
    return math.isnan(value) or nominal / factor <= value <= nominal * factor


def _middle(area: Window) -> Window:
    height, width = (min(int(side), _MOST_PX) for side in (area.height, area.width))
    top = int(area.row_off) + (int(area.height) - height) // 2
    left = int(area.col_off) + (int(area.width) - width) // 2
    return Window(left, top, width, height)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value
