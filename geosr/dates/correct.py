"""The correction that further dates make to one window of the reference's image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geosr.dates.sampling import Pixels, ShiftedSensor, gram_kernel
from geosr.dates.solve import solve
from geosr.dates.survey import Survey
from geosr.dates.weights import Weighed, shrunk, weigh
from geosr.model.sensor import Sensor, upsample

#: Source pixels around what the reference did not measure that no date corrects.
REFERENCE_GROWTH_PX = 1

#: Steps of back-projection that take the coarse part out of a correction.
_STEPS = 3

#: Standard deviation of the window whose mean is coarse, source pixels.
_COARSE_PX = 2.0

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DatedWindow:
    """One date's pixels of a window."""

    pixels: NDArray[np.floating]
    """Reflectance ``(bands, rows, cols)``, finite everywhere."""
    valid: _Mask
    """``(rows, cols)``."""


def correction(
    image: Pixels,
    reference: DatedWindow,
    others: Sequence[DatedWindow],
    survey: Survey,
    sensor: Sensor,
    corner_px: tuple[int, int] = (0, 0),
) -> tuple[Pixels, Pixels]:
    """Compute the correction of the reference's ``image`` by further dates, and the weight of each date.

    Parameters
    ----------
    image
        The reference's product, reflectance ``(bands, scale rows, scale cols)``.
    reference, others
        The window in the reference and in the further dates, in the order of the survey.
    survey
        How the dates lie on the reference.
    sensor
        The blur of the bands.
    corner_px
        Row and column of the window's first pixel in the scene.

    Returns
    -------
    correction, weights
        Reflectance, shaped as ``image``, exactly 0 where no date is usable; and the mean weight of each date's pixels
        over the bands, ``(dates, rows, cols)``, 0 for dates that are unused.
    """
    shape = reference.valid.shape
    weights = np.zeros((len(others), *shape), dtype=np.float32)
    used = survey.used
    if not used:
        return np.zeros_like(image), weights
    sigmas = sensor.sigmas
    measured = shrunk(reference.valid, REFERENCE_GROWTH_PX)
    sensors = [ShiftedSensor(sigmas, sensor.scale, (0.0, 0.0))]
    departures: list[Pixels | None] = [None]
    said: list[Weighed] = []
    for number, fit in used:
        shifted, departure = ShiftedSensor(sigmas, sensor.scale, fit.shift_px), fit.departure(*corner_px, shape)
        seen = shifted.observe(image, departure)
        one = weigh(others[number].pixels, others[number].valid, measured, seen, fit)
        weights[number] = one.weight.mean(axis=0)
        sensors.append(shifted)
        departures.append(departure)
        said.append(one)
    if not weights.any():
        return np.zeros_like(image), weights
    said.insert(0, _said_by_reference(image, reference, measured, said, sensors[0]))
    most = max(max(fit.weight) for _, fit in used)
    values = _solved(said, most, gram_kernel(sigmas, sensor.scale, [(0.0, 0.0), *(fit.shift_px for _, fit in used)]))
    change: Pixels = np.zeros_like(image)
    for own_sensor, departure, value in zip(sensors, departures, values, strict=True):
        change += own_sensor.spread(value, departure)
    return _without_coarse(change, sensor, sensors[0]), weights


def _said_by_reference(
    image: Pixels, reference: DatedWindow, measured: _Mask, others: Sequence[Weighed], sensor: ShiftedSensor
) -> Weighed:
    """The reference counts as much as the other dates do around, and not where none does."""
    residual = np.where(measured, reference.pixels - sensor.observe(image), 0.0)
    together = np.max([one.weight for one in others], axis=0)
    return Weighed(residual, np.where(measured, together, 0.0))


def _solved(said: Sequence[Weighed], most: float, gram: torch.Tensor) -> Pixels:
    """Values of each date, ``(dates, bands, rows, cols)``."""
    bands, rows, cols = said[0].residual.shape
    residual, weight = (
        torch.from_numpy(np.stack(one, axis=1).astype(np.float32)).reshape(1, -1, rows, cols)
        for one in ([each.residual for each in said], [each.weight for each in said])
    )
    found = solve(residual, weight, gram, bands, most)
    values: Pixels = found.reshape(bands, len(said), rows, cols).transpose(0, 1).numpy()
    return values


def _without_coarse(change: Pixels, sensor: Sensor, own: ShiftedSensor) -> Pixels:
    """Take out the coarse part of a correction, as the sensor sees it: coarse radiometry is the reference's."""
    seen = own.observe(change)
    coarse = torch.from_numpy(np.stack([ndimage.gaussian_filter(band, _COARSE_PX) for band in seen]))[None]
    with torch.inference_mode():
        pull, _ = sensor.pull_by(-coarse, None, _STEPS)
        change += upsample(pull, sensor.scale)[0].numpy()
    return change
