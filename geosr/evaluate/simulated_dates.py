"""Several dates of one place, simulated from an image that is taken as the truth, and made to one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.sampling import ShiftedSensor
from geosr.dates.survey import Survey, Tile, survey_dates, tile_windows
from geosr.evaluate.held_out import NOISE
from geosr.model.sensor import Sensor

#: Largest shift of a date along an axis, source pixels; largest departure of its gain from 1; days between two dates.
SHIFT_PX, GAIN, DAYS_APART = 0.6, 0.03, 5.0

Frames = list[NDArray[np.float32]]


def simulate_dates(truth: Tensor, sensor: Sensor, count: int, seed: int) -> tuple[Frames, list[tuple[float, ...]]]:
    """Simulate so many dates of an image, the reference first.

    Returns reflectance ``(bands, rows, cols)`` of each and its shift in source pixels. The shifts and gains of further
    dates are uniform, the noise of all is normal.
    """
    rng = np.random.default_rng(seed)
    shifts: list[tuple[float, ...]] = [(0.0, 0.0)]
    shifts += [tuple(rng.uniform(-SHIFT_PX, SHIFT_PX, 2)) for _ in range(count - 1)]
    frames = [observed_at(truth, one, sensor, rng) for one in shifts]
    gains = 1 + rng.uniform(-GAIN, GAIN, (count - 1, len(truth), 1, 1)).astype(np.float32)
    return [frames[0], *(frame * gain for frame, gain in zip(frames[1:], gains, strict=True))], shifts


def observed_at(
    truth: Tensor, shift: tuple[float, ...], sensor: Sensor, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Observe an image at a shift, with noise."""
    lr = ShiftedSensor(sensor.sigmas, sensor.scale, (shift[0], shift[1])).observe(truth.numpy())
    return lr + np.float32(NOISE) * rng.normal(size=lr.shape).astype(np.float32)


def survey_frames(
    frames: Frames, transfers: Sequence[float], sensor: Sensor, days: Sequence[float] | None = None
) -> Survey:
    """Register and weigh dates that were measured everywhere; ``transfers`` are the bands' at Nyquist."""
    rows, cols = frames[0].shape[1:]
    tiles = [
        Tile(
            down.start,
            across.start,
            [one[:, down, across] for one in frames],
            [np.ones(one[0, down, across].shape, dtype=bool) for one in frames],
        )
        for down, across in tile_windows((rows, cols))
    ]
    return survey_dates(tiles, transfers, sensor, (rows, cols), days)


def fuse_frames(single: Tensor, frames: Frames, survey: Survey, sensor: Sensor) -> tuple[Tensor, NDArray[np.float32]]:
    """Correct the first date's image by the other dates; and their weights, ``(dates, rows, cols)``."""
    windows = [DatedWindow(one, np.ones(one.shape[1:], dtype=bool)) for one in frames]
    change, weights = correction(single.numpy(), windows[0], windows[1:], survey, sensor)
    return single + torch.from_numpy(change), weights
