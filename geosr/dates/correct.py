"""The correction that further dates make to one window of the reference's image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geosr.dates.sampling import Pixels, Shift, ShiftedSensor, gram_kernel
from geosr.dates.solve import solve
from geosr.dates.survey import Survey, local_mean
from geosr.dates.weights import Weighed, local_power, shrunk, weigh
from geosr.model.sensor import Sensor, upsample

#: Source pixels around what the reference did not measure that no date corrects.
REFERENCE_GROWTH_PX = 1

#: Steps of back-projection that take the coarse part out of a correction.
_STEPS = 3

#: Standard deviation of the window whose mean is coarse, source pixels.
_COARSE_PX = 2.0

#: Root mean square of an image's detail below which a place is calm, reflectance: Sentinel-2's noise; and the standard
#: deviation of the Gaussian that smooths the values there, source pixels. Real dates left out are predicted as well as
#: without, and detail of towns and fields is not touched.
_CALM_DETAIL, _CALM_PX = 0.001, 1.0

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DatedWindow:
    """One date's pixels of a window."""

    pixels: NDArray[np.floating]
    """Reflectance ``(bands, rows, cols)``, finite everywhere."""
    valid: _Mask
    """``(rows, cols)``."""


#: One band of an image on the finer grid, reflectance ``(scale rows, scale cols)``, by its number.
FineImage = Callable[[int], Pixels]


@dataclass(frozen=True)
class Correction:
    """Correction of one window, solved at the source's resolution; it goes to the finer grid band by band."""

    weights: Pixels
    """Mean weight of each date's pixels over the bands, ``(dates, rows, cols)``, 0 for dates that are unused."""
    sensor: Sensor
    shifts: tuple[Shift, ...] = ()
    """Shift of each date that takes part, the reference first; empty where there is nothing to correct."""
    departures: tuple[Pixels | None, ...] = ()
    """Shifts of their pixels beyond that, see :meth:`geosr.dates.survey.DateFit.departure`."""
    values: Pixels | None = None
    """Values that the correction spreads from, ``(dates, bands, rows, cols)``."""

    def of_band(self, band: int) -> Pixels | None:
        """Correction of one band, reflectance ``(scale rows, scale cols)``; None where no date takes part."""
        if self.values is None:
            return None
        scale, sigmas = self.sensor.scale, self.sensor.sigmas[band : band + 1]
        rows, cols = self.values.shape[2:]
        change: Pixels = np.zeros((1, scale * rows, scale * cols), dtype=np.float32)
        for shift, departure, values in zip(self.shifts, self.departures, self.values[:, band], strict=True):
            change += ShiftedSensor(sigmas, scale, shift).spread(values[None], departure)
        own = ShiftedSensor(sigmas, scale, self.shifts[0])
        fine: Pixels = _without_coarse(change, Sensor(sigmas, scale), own)[0]
        return fine


def correction(
    image: Pixels,
    reference: DatedWindow,
    others: Sequence[DatedWindow],
    survey: Survey,
    sensor: Sensor,
    corner_px: tuple[int, int] = (0, 0),
) -> tuple[Pixels, Pixels]:
    """Compute the correction of the reference's ``image`` by further dates, and the weight of each date.

    As :func:`solve_correction`, of an image ``(bands, scale rows, scale cols)`` and for all bands: returns the
    correction, shaped as ``image`` and exactly 0 where no date is usable, and the weights.
    """
    solved = solve_correction(image.__getitem__, reference, others, survey, sensor, corner_px)
    bands = [solved.of_band(band) for band in range(len(image))]
    return np.stack([np.zeros_like(image[0]) if one is None else one for one in bands]), solved.weights


def solve_correction(
    image: FineImage,
    reference: DatedWindow,
    others: Sequence[DatedWindow],
    survey: Survey,
    sensor: Sensor,
    corner_px: tuple[int, int] = (0, 0),
) -> Correction:
    """Solve for the correction of the reference's ``image`` by further dates.

    Parameters
    ----------
    image
        Bands of the reference's product, reflectance; each is asked for once.
    reference, others
        The window in the reference and in the further dates, in the order of the survey.
    survey
        How the dates lie on the reference.
    sensor
        The blur of the bands.
    corner_px
        Row and column of the window's first pixel in the scene.
    """
    shape, used = reference.valid.shape, survey.used
    weights = np.zeros((len(others), *shape), dtype=np.float32)
    if not used:
        return Correction(weights, sensor)
    measured = shrunk(reference.valid, REFERENCE_GROWTH_PX)
    shifts: list[Shift] = [(0.0, 0.0), *(fit.shift_px for _, fit in used)]
    departures = [None, *(fit.departure(*corner_px, shape) for _, fit in used)]
    own, *seen = _observed(image, sensor, shifts, departures)
    said: list[Weighed] = []
    for (number, fit), one in zip(used, seen, strict=True):
        said.append(weigh(others[number].pixels, others[number].valid, measured, one, fit))
        weights[number] = said[-1].weight.mean(axis=0)
    if not weights.any():
        return Correction(weights, sensor)
    said.insert(0, _said_by_reference(own, reference, measured, said))
    most = max(max(fit.weight) for _, fit in used)
    values = _calmed(_solved(said, most, gram_kernel(sensor.sigmas, sensor.scale, shifts)), own, measured)
    return Correction(weights, sensor, tuple(shifts), tuple(departures), values)


def _calmed(values: Pixels, seen: Pixels, measured: _Mask) -> Pixels:
    """Smooth the values where the image has no detail beside the sensor's noise.

    On calm water, sharpened values would be nothing but the dates' noise; smooth ones are its mean. ``seen`` is the
    image as the reference's sensor sees it. A value of 0, where no date has weight, stays 0.
    """
    power = local_power(seen - local_mean(seen, measured), measured, _COARSE_PX)
    share = (power**2 / (power**2 + _CALM_DETAIL**4)).astype(np.float32)
    smooth = np.where(values != 0, ndimage.gaussian_filter(values, (0, 0, _CALM_PX, _CALM_PX)), np.float32(0))
    calmed: Pixels = smooth + share * (values - smooth)
    return calmed


def _observed(
    image: FineImage, sensor: Sensor, shifts: Sequence[Shift], departures: Sequence[Pixels | None]
) -> list[Pixels]:
    """Observe the image as each date does, ``(bands, rows, cols)``; one band of it is in memory at a time."""
    seen: list[list[Pixels]] = [[] for _ in shifts]
    for band, sigma in enumerate(sensor.sigmas):
        fine = image(band)[None]
        for found, shift, departure in zip(seen, shifts, departures, strict=True):
            found.append(ShiftedSensor([sigma], sensor.scale, shift).observe(fine, departure))
    return [np.concatenate(found) for found in seen]


def _said_by_reference(seen: Pixels, reference: DatedWindow, measured: _Mask, others: Sequence[Weighed]) -> Weighed:
    """The reference counts as much as the other dates do around, and not where none does."""
    residual = np.where(measured, reference.pixels - seen, 0.0)
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
