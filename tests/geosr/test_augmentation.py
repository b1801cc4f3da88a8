"""Calm ground, bright spots, JPEG, and noise as it is: what training patches are changed by."""

from __future__ import annotations

import pytest
import torch

from geosr.training.augmentation import Augmentation, brighten, calm, compress
from geosr.training.degrade import Degradation, degrade
from geosr.training.losses import Loss, interpolation_error, loss_beside_spots


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


def test_calm_patches_keep_their_mean_and_lose_their_contrast(rng):
    hr = torch.rand(200, 2, 12, 12)
    made = calm(hr.clone(), Augmentation(calm=0.5, contrast=(0.05, 0.5)), rng)
    kept = made.std(dim=(-2, -1)) / hr.std(dim=(-2, -1))
    torch.testing.assert_close(made.mean(dim=(-2, -1)), hr.mean(dim=(-2, -1)))
    changed = kept[:, 0] < 0.999
    assert 70 < int(changed.sum()) < 130
    assert float(kept[changed].min()) >= 0.0499
    assert float(kept[changed].max()) <= 0.501
    torch.testing.assert_close(kept[:, 0], kept[:, 1])


def test_without_shares_patches_and_chance_stay_as_they_are(rng):
    hr, before = torch.rand(3, 4, 16, 16), rng.get_state()
    made, quiet = brighten(calm(hr.clone(), Augmentation(), rng), Augmentation(), rng, 8)
    assert bool((quiet == 1).all())
    assert torch.equal(made, hr)
    assert torch.equal(rng.get_state(), before)


def test_bright_spots_are_small_and_as_bright_as_configured(rng):
    dark = torch.full((60, 4, 64, 64), 0.05)
    made, quiet = brighten(dark.clone(), Augmentation(bright=1.0, brightness=(0.5, 1.0)), rng, 3)
    spots = made > 0.06
    around = torch.nn.functional.max_pool2d(spots.any(dim=1, keepdim=True).float(), 7, 1, 3)
    torch.testing.assert_close(quiet, 1 - around)
    assert bool(spots.any(dim=(-3, -2, -1)).all())
    assert float(spots.float().mean(dim=(-3, -2, -1)).max()) <= 3 * 16 * 16 / 64**2
    assert float(made[spots].min()) >= 0.4
    assert float(made.max()) <= 1.2


def test_compression_moves_pixels_by_more_the_lower_its_quality(rng):
    lr = torch.rand(4, 32, 32) * 0.5
    errors = []
    for quality in (95, 50):
        made = compress(lr, [0, 1, 2], Augmentation(jpeg=1.0, quality=(quality, quality)), rng)
        torch.testing.assert_close(made[3], made[:3].mean(dim=0))
        errors.append(float((made[:3] - lr[:3]).square().mean().sqrt()))
    assert 1 / 255 < errors[0] < errors[1] < 0.2


def noise_of(rng, **changes):
    degradation = Degradation(noise=(0.002, 0.002), **changes)
    return degrade(torch.full((40, 2, 160, 160), 0.3), 4, degradation, rng) - 0.3


def test_resampled_noise_has_its_size_and_neighbours_agree(rng):
    noise = noise_of(rng, noise_resampled=1.0)
    assert float(noise.std()) == pytest.approx(0.002, rel=0.03)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert 0.25 < float(neighbours) < 0.5  # (1 - u) u / ((1 - u)² + u²), u uniform to 0.5: 0.285; the edges wrap


def test_bands_have_noise_of_their_own_size(rng):
    sizes = noise_of(rng, noise_band_jitter=0.6).std(dim=(-2, -1)) / 0.002
    assert float(sizes.min()) > 1 / 1.6 * 0.9
    assert float(sizes.max()) < 1.6 * 1.1
    assert float(sizes.max() / sizes.min()) > 1.8


def test_noise_grows_with_the_signal(rng):
    hr = torch.full((60, 1, 160, 160), 0.1)
    hr[..., 80:] = 0.4
    degradation = Degradation(
        sigma=(2, 2), sigma_band_jitter=0, anisotropy=0, shift_hr_px=0, noise=(0.002, 0.002), noise_of_signal=1.0
    )
    lr = degrade(hr, 4, degradation, rng)
    dark, bright = lr[..., 2:16].std(), lr[..., 24:38].std()
    assert 1.15 < float(bright / dark) < 2.0


def test_every_patch_counts_alike_relative_to_interpolation():
    loss = Loss(pixel="rms", relative_to="interpolation")
    hr = torch.rand(2, 1, 16, 16)
    hr[1] *= 0.05
    interpolated = hr + 0.1 * torch.tensor([1.0, 0.05]).reshape(2, 1, 1, 1)
    unit = interpolation_error(interpolated, hr)
    halved = hr + 0.5 * (interpolated - hr)
    one, other = (float(loss(halved[i : i + 1], hr[i : i + 1], unit[i : i + 1])) for i in range(2))
    assert one == pytest.approx(0.5, rel=0.01)
    assert other == pytest.approx(one, rel=0.03)


def test_errors_beside_spots_count_in_units_of_the_ground_there():
    hr = 0.1 + 0.01 * torch.rand(2, 1, 16, 16)
    hr[0, :, 4:6, 4:6] = 5.0
    quiet = torch.ones(2, 1, 16, 16)
    quiet[0, :, 2:8, 2:8] = 0
    loss = Loss(pixel="rms", relative_to="interpolation")
    ground = hr[0][quiet[0] == 1]
    error = 0.5 * ground.std()
    off = float(loss_beside_spots(loss, hr + error, hr, quiet))
    assert off == pytest.approx(0.25, rel=0.1)  # half of the patches, off by half of the contrast
    at_the_spot = hr.clone()
    at_the_spot[0, :, 4:6, 4:6] = 1.0
    assert float(loss_beside_spots(loss, at_the_spot, hr, quiet)) < 2e-3
    assert float(loss_beside_spots(loss, hr + 1, hr, torch.ones_like(quiet))) == 0
