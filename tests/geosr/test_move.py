"""Images moved by a fraction of a pixel, against SciPy's own way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geosr.registration.move import moved


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.7), (-2.25, 5.5), (1.0, -3.0), (-0.01, 30.4)])
def test_an_image_moves_as_scipy_moves_it(shift, order):
    image = np.random.default_rng(5).normal(size=(2, 40, 33)).astype(np.float32)
    expected = [ndimage.shift(band.astype(np.float64), shift, order=order, mode="nearest") for band in image]
    assert np.abs(moved(image, shift, order) - expected).max() < 2e-6


def test_what_is_linear_moves_exactly():
    rows, cols = np.mgrid[:24, :24].astype(np.float32)
    inner = moved(2 * rows - cols, (0.25, 1.5))[8:-8, 8:-8]
    assert np.abs(inner - (2 * (rows - 0.25) - (cols - 1.5))[8:-8, 8:-8]).max() < 1e-4
