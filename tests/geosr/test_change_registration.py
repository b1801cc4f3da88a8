"""Registration and radiometry of two dates, of bands that are sampled as the grid is and more coarsely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage

from geosr.change.dates import register
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor

SIDE, SCALE, MTF = 96, 4, (0.26, 0.2)
GAIN = 1.02


@dataclass(frozen=True)
class Pixels:
    """Reads an array as dates are read."""

    array: np.ndarray

    def read(self, window):
        rows, cols = window.toslices()
        return self.array[:, rows, cols], np.ones((window.height, window.width), bool)


@pytest.fixture
def dates():
    """Products of two dates, and the later source, whose second band has pixels of twice the grid's side."""
    noise = np.random.default_rng(0).standard_normal((2, SCALE * SIDE, SCALE * SIDE))
    ground = np.stack([ndimage.gaussian_filter(one, 3) for one in noise]).astype(np.float32)
    ground = 0.2 + 0.03 * ground / ground.std()
    sensor = Sensor([mtf_to_sigma(one, SCALE) for one in MTF], SCALE)
    source = GAIN * sensor.observe(torch.from_numpy(ground)[None])[0].numpy()
    source[1] = source[1].reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    return Pixels(ground), Pixels(GAIN * ground), Pixels(source)


def test_the_radiometry_of_coarsely_sampled_bands_is_found(dates):
    found = register(*dates, (SIDE, SIDE), SCALE, MTF)
    assert found.squares == 1
    assert abs(found.rows_px) < 0.1
    assert abs(found.cols_px) < 0.1
    for line in found.lines:
        assert line.gain == pytest.approx(GAIN, abs=1e-3)
        assert line.offset == pytest.approx(0, abs=1e-3)
