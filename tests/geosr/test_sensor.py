"""The sensor model: the blur's size, the sampling's place, and what back-projection does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from geosr.model.generator import Generator
from geosr.model.kernels import SQUARE_PIXEL_MTF, mtf_to_sigma
from geosr.model.sensor import Sensor, upsample, upsample_polyphase

SIGMAS = [mtf_to_sigma(mtf, 4) for mtf in (0.26, 0.28, 0.24, 0.26)]


def test_blur_of_sentinel2():
    assert [round(sigma, 2) for sigma in SIGMAS] == [2.09, 2.03, 2.15, 2.09]
    assert pytest.approx(math.sin(math.pi / 2) / (math.pi / 2)) == SQUARE_PIXEL_MTF


def test_observation_is_a_gaussian_sampled_at_block_centres():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 1, (160, 160))
    observed = Sensor([2.09], 4).observe(torch.tensor(image, dtype=torch.float32)[None, None])[0, 0].numpy()
    # The reference is exact: a Gaussian in the frequency domain, shifted by the 1.5 pixels to a block's centre.
    spectrum = np.fft.fft2(image)
    fy, fx = np.fft.fftfreq(160)[:, None], np.fft.fftfreq(160)[None]
    blurred = np.fft.ifft2(
        spectrum * np.exp(-2 * (np.pi * 2.09) ** 2 * (fy**2 + fx**2)) * np.exp(2j * np.pi * 1.5 * (fy + fx))
    ).real[::4, ::4]
    np.testing.assert_allclose(observed[5:-5, 5:-5], blurred[5:-5, 5:-5], atol=2e-4)


def test_constants_and_ramps_are_observed_as_they_are():
    ramp = torch.arange(64, dtype=torch.float32).expand(1, 1, 64, 64)
    observed = Sensor([2.09], 4).observe(ramp)
    expected = torch.arange(16, dtype=torch.float32) * 4 + 1.5
    torch.testing.assert_close(observed[0, 0, 8, 4:-4], expected[4:-4], atol=1e-4, rtol=0)


def test_upsampling_keeps_pixel_centres():
    ramp = torch.arange(16, dtype=torch.float32).expand(1, 1, 16, 16)
    expected = (torch.arange(64, dtype=torch.float32) - 1.5) / 4
    torch.testing.assert_close(upsample(ramp, 4)[0, 0, 30, 12:-12], expected[12:-12], atol=1e-4, rtol=0)


def test_one_step_takes_a_bias_out():
    rng = np.random.default_rng(0)
    truth = torch.tensor(gaussian_filter(rng.uniform(0, 1, (128, 128)), 3), dtype=torch.float32)[None, None]
    sensor = Sensor([2.09], 4)
    lr = sensor.observe(truth)
    biased = truth * 1.05 + 0.01
    before = (sensor.observe(biased) - lr).abs().mean()
    after = (sensor.observe(sensor.back_project(biased, lr)) - lr).abs().mean()
    assert after < 0.15 * before


def test_back_projection_beats_interpolation(sample):
    truth = torch.tensor(sample.astype(np.float32) / 10000)[None]
    sensor = Sensor(SIGMAS, 4)
    lr = sensor.observe(truth)

    def error(steps):
        return float((Generator(sensor, steps=steps)(lr) - truth).square().mean())

    assert error(0) > error(1) > error(3)
    assert 10 * math.log10(error(0) / error(3)) > 1


def test_masked_pixels_pull_at_nothing():
    sensor = Sensor([2.09], 4)
    image = torch.zeros(1, 1, 64, 64)
    lr = torch.zeros(1, 1, 16, 16)
    lr[..., 8, 8] = 100
    valid = (lr == 0).float()
    assert sensor.back_project(image, lr).abs().max() > 1
    assert sensor.back_project(image, lr, valid).abs().max() == 0


def test_gradients_flow_through_the_sensor():
    sensor = Sensor([2.09], 4)
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    sensor.back_project(image, torch.rand(1, 1, 8, 8)).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_steps_at_once_are_steps_one_after_another():
    torch.manual_seed(0)
    sensor = Sensor(SIGMAS, 4)
    lr, image = torch.rand(1, 4, 24, 24), torch.rand(1, 4, 96, 96)
    one_by_one = image
    for _ in range(5):
        one_by_one = sensor.back_project(one_by_one, lr)
    at_once = sensor.back_project(image, lr, steps=5)
    inside = (..., slice(28, -28), slice(28, -28))
    torch.testing.assert_close(at_once[inside], one_by_one[inside], atol=2e-5, rtol=0)


def test_steps_at_once_keep_masked_pixels_still():
    sensor = Sensor([2.09], 4)
    lr = torch.rand(1, 1, 16, 16)
    valid = torch.ones_like(lr)
    valid[..., 5:9, 5:9] = 0
    spoilt = torch.where(valid == 0, 1e6, lr)
    image = torch.zeros(1, 1, 64, 64)
    clean, dirty = (sensor.back_project(image, one, valid, steps=4) for one in (lr, spoilt))
    assert (clean == dirty).all()


def test_coarse_noise_is_kept_apart_from_fine():
    """Radiometry is coarse: a mean over 8 × 8 pixels moves by next to nothing of what is taken for noise."""
    sensor = Sensor([2.09, 2.15], 4)
    noise = torch.randn(1, 2, 96, 96, generator=torch.Generator().manual_seed(0))
    fine = sensor.fine_noise(noise)[..., 16:-16, 16:-16]
    means = [float(torch.nn.functional.avg_pool2d(one, 8).std()) for one in (noise[..., 16:-16, 16:-16], fine)]
    assert means[1] < 0.4 * means[0]
    assert float(fine.std()) > 0.85
    slope = torch.linspace(0, 1, 96).expand(1, 2, 96, 96)
    assert float(sensor.fine_noise(slope)[..., 40:56].abs().max()) < 1e-3


def test_noise_that_was_estimated_is_left_out_of_the_constraint():
    """The image reproduces the source without the fine part of the network's estimate, within its limits."""
    sensor = Sensor([2.09] * 2, 4)
    rng = torch.Generator().manual_seed(1)
    lr = 0.3 + 0.01 * torch.randn(1, 2, 64, 64, generator=rng)
    estimate = 50 * torch.randn(1, 2, 64, 64, generator=rng)
    residual = torch.cat([torch.zeros(1, 32, 64, 64), estimate], dim=1)
    limits = torch.tensor([0.02, 0.01]).reshape(1, 2, 1, 1)
    model = Generator(sensor, steps=60, noise_limits=[0.02, 0.01])
    polyphase, observed = model.constrain(lr, residual)
    noise = sensor.fine_noise(limits * estimate / (1 + estimate.abs()))
    torch.testing.assert_close(observed, lr - noise, atol=1e-3, rtol=0)
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(observed[inside], sensor.observe_polyphase(polyphase)[inside], atol=2e-5, rtol=0)
    valid = torch.zeros_like(lr)
    masked, _ = model.constrain(lr, residual, valid)
    torch.testing.assert_close(masked, upsample_polyphase(lr, 4))
