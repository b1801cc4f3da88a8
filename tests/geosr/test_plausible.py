"""Bounds on what leaves a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from geosr.engine.rows import ArrayRows
from geosr.inference.plausible import BoundedRows, plausible_range
from geosr.model.generator import Generator
from geosr.model.sensor import Sensor


@pytest.mark.parametrize("margin", [0, 2, 3, 9])
@pytest.mark.parametrize("threads", [1, 2])
def test_bounds_are_the_extremes_of_the_neighbourhood_and_a_share_beyond(margin, threads):
    lr = np.random.default_rng(0).normal(0.1, 0.2, (2, 50 + 2 * margin, 41 + 2 * margin)).astype(np.float32)
    low, high = plausible_range(lr, margin, 0.5, threads)
    inside = np.s_[:, margin : margin + 50, margin : margin + 41]
    least = np.stack([minimum_filter(band, 7, mode="nearest") for band in lr])[inside]
    most = np.stack([maximum_filter(band, 7, mode="nearest") for band in lr])[inside]
    np.testing.assert_allclose(low, least - 0.5 * np.abs(least), rtol=1e-6)
    np.testing.assert_allclose(high, most + 0.5 * np.abs(most), rtol=1e-6)


def test_rows_are_clipped_to_the_bounds_of_their_own_source_pixels():
    low = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    high = low + 1
    image = np.full((1, 16, 3, 4), 5.5, np.float32)
    rows = BoundedRows(ArrayRows(image), low, high)
    assert rows.shape == (1, 16, 3, 4)
    got = rows(1, 3)
    np.testing.assert_array_equal(got, np.broadcast_to(np.clip(5.5, low, high)[:, None, 1:], got.shape))


def test_a_generator_bounds_its_images_as_products_are():
    lr = torch.rand(1, 2, 20, 24, generator=torch.Generator().manual_seed(0)) - 0.2
    sensor = Sensor([2.09] * 2, 4)
    free, bounded = (Generator(sensor, steps=16, overshoot=share)(lr) for share in (None, 0.0))
    low, high = plausible_range(lr[0].numpy(), 0, 0.0)
    rows = BoundedRows(
        ArrayRows(torch.nn.functional.pixel_unshuffle(free, 4).numpy().reshape(2, 16, 20, 24)), low, high
    )
    expected = torch.from_numpy(rows(0, 20).reshape(1, 32, 20, 24))
    torch.testing.assert_close(torch.nn.functional.pixel_unshuffle(bounded, 4), expected)
    assert not torch.equal(free, bounded)
