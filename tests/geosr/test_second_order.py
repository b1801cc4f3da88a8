"""The second-order degradation of Real-ESRGAN: chance, brightness, noise and kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geosr.training.data import PatchSampler
from geosr.training.second_order import Pass, SecondOrder, blur_kernel, degrade_twice, sinc_kernel
from tests.conftest import SAMPLE
from tests.geosr.test_perceptual import configured


def test_the_second_order_degradation_depends_on_its_numbers_alone():
    hr = torch.rand(5, 4, 96, 64)
    one, two, other = (degrade_twice(hr, 4, SecondOrder(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (5, 4, 24, 16)
    assert one.isfinite().all()
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    # Each image its own way: the same image, five times, is five.
    many = degrade_twice(hr[:1].expand(5, -1, -1, -1), 4, SecondOrder(), torch.Generator().manual_seed(1))
    assert len({float(image.sum()) for image in many}) == 5


def test_the_second_order_degradation_keeps_brightness_and_place():
    ramp = torch.linspace(0.1, 0.5, 160).expand(40, 2, 160, 160)
    calm = Pass(noise=(1e-6, 1e-6))
    lr = degrade_twice(ramp, 4, SecondOrder(calm, calm), torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(ramp, 4)
    # Ringing changes a slope's level, not its place; margins saw it mirrored.
    assert (lr - expected)[..., 8:-8, 8:-8].abs().mean() < 0.01
    assert (lr - expected)[..., 8:-8, 8:-8].mean().abs() < 1e-3


def test_bands_do_not_share_their_noise():
    lr = degrade_twice(torch.full((20, 2, 96, 96), 0.3), 4, SecondOrder(), torch.Generator().manual_seed(0))
    noise = lr - lr.mean(dim=(-2, -1), keepdim=True)
    together = (noise[:, 0] * noise[:, 1]).mean() / noise.square().mean()
    assert abs(float(together)) < 0.1


def test_kernels_of_the_second_order_degradation():
    for kernel in (blur_kernel(13, (2.0, 1.0), 0.3), blur_kernel(13, (2, 1), 0, "plateau", 1.5), sinc_kernel(21, 1.2)):
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    y, x = np.mgrid[-10:11, -10:11]
    kernel = blur_kernel(21, (2.0, 1.0), 0.0)
    assert np.sqrt((kernel * x**2).sum()) == pytest.approx(2, rel=0.01)
    assert np.sqrt((kernel * y**2).sum()) == pytest.approx(1, rel=0.01)
    # A sinc passes slow waves and stops fast ones.
    sinc = sinc_kernel(21, np.pi / 2)
    passed, stopped = (abs((sinc * np.cos(frequency * x)).sum()) for frequency in (0.3, 2.8))
    assert passed > 0.9 > 0.1 > stopped


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_a_plateau_falls_as_its_exponent_says(exponent):
    """At a distance of r standard deviations along an axis it is 1 / (1 + r^(2 exponent)) of its middle."""
    kernel = blur_kernel(13, (2.0, 1.0), 0.0, "plateau", exponent)
    for steps in (1, 2, 4):
        for found, sigma in ((kernel[6, 6 + steps], 2.0), (kernel[6 + steps, 6], 1.0)):
            assert found / kernel[6, 6] == pytest.approx(1 / (1 + (steps / sigma) ** (2 * exponent)))


def test_patches_are_degraded_as_configured(tmp_path):
    config = configured(tmp_path, "second_order: {last_sinc: 0}\n")
    sampler = PatchSampler(config, SAMPLE.parent)
    lr, hr, *_ = sampler.batch(3)
    assert (lr.shape, hr.shape) == ((4, 4, 12, 12), (4, 4, 48, 48))
    assert torch.equal(lr, PatchSampler(config, SAMPLE.parent).batch(3)[0])
    plain = PatchSampler(config.model_copy(update={"second_order": None}), SAMPLE.parent)
    assert not torch.equal(lr, plain.batch(3)[0])
    for low, high in zip(lr, torch.nn.functional.avg_pool2d(hr, 4), strict=True):
        assert np.corrcoef(low.flatten(), high.flatten())[0, 1] > 0.8
