"""Measured fraction: how much of an image comes from measurements."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geosr.model.kernels import mtf_to_sigma
from geosr.model.measured_fraction import NOISE, MeasuredFraction
from geosr.model.sensor import Sensor


@pytest.fixture(scope="module")
def fraction() -> MeasuredFraction:
    return MeasuredFraction(Sensor([mtf_to_sigma(0.26, 4)] * 2, 4), (0.1, 0.3))


def test_a_flat_image_has_no_measured_detail(fraction):
    flat = torch.full((1, 2, 9, 11), 0.7)
    measured = fraction.measured(flat)
    assert measured.shape == (1, 2, 36, 44)
    assert torch.allclose(measured, torch.full_like(measured, 0.7), atol=1e-5)
    assert (fraction(measured, flat) < 1e-3).all()


def test_noise_is_no_measured_detail(fraction):
    generator = torch.Generator().manual_seed(1)
    reference = torch.tensor([0.1, 0.3])[:, None, None]
    noise = 0.5 + NOISE * torch.randn((1, 2, 60, 60), generator=generator) / reference
    assert float(fraction(fraction.measured(noise), noise).mean()) < 0.2


def test_the_measured_part_looks_to_the_sensor_like_the_source(fraction, sample):
    sensor = Sensor([mtf_to_sigma(0.26, 4)] * 2, 4)
    low = (
        torch.tensor(sample[[0, 3], :80, :80].astype(np.float32))[None] * 1e-4 / torch.tensor([0.1, 0.3])[:, None, None]
    )
    seen = sensor.observe(fraction.measured(low))
    difference = ((seen - low) * torch.tensor([0.1, 0.3])[:, None, None]).abs()[..., 8:-8, 8:-8]
    assert difference.mean() < NOISE


def test_detail_without_measurement_lowers_it(fraction, sample):
    low = (
        torch.tensor(sample[[0, 3], :60, :60].astype(np.float32))[None] * 1e-4 / torch.tensor([0.1, 0.3])[:, None, None]
    )
    measured = fraction.measured(low)
    plain = fraction(measured, low)
    # Fields without detail beyond the noise have none that is measured.
    assert plain.max() > 0.95
    generator = torch.Generator().manual_seed(0)
    detail = torch.randn(measured.shape, generator=generator)
    fine, strong = (fraction(measured + size * detail, low) for size in (0.05, 0.5))
    assert (strong <= fine).all()
    assert (fine <= plain).all()
    assert 0.3 * float(plain.mean()) < float(fine.mean()) < 0.95 * float(plain.mean())
    assert strong.mean() < 0.2
    # Where only the calm band is valid, the invented detail of the other does not count.
    detail[:, 1] = 0
    valid = torch.zeros_like(low)
    valid[:, 1] = 1
    assert torch.equal(fraction(measured + detail, low, valid), fraction(measured, low, valid))
