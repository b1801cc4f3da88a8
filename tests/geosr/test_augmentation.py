"""Calm ground, bright spots, JPEG, and noise as it is: what training patches are changed by."""

from __future__ import annotations

import pytest
import torch
import yaml

from geosr.training.augmentation import Augmentation, brighten, calm, compress
from geosr.training.config import read_config
from geosr.training.data import PatchSampler
from geosr.training.degrade import Degradation, degrade
from geosr.training.losses import Loss, interpolation_error, loss_beside_spots, noise_passed
from tests.conftest import SAMPLE
from tests.small_training import TINY


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


def test_repeated_patches_share_blur_and_differ_by_their_noise(rng):
    hr = torch.rand(2, 2, 80, 80).repeat(20, 1, 1, 1)
    lr = degrade(hr, 4, Degradation(noise=(0.002, 0.002)), rng, noise_pairs=20)
    differences = (lr[:20] - lr[20:]).std(dim=(1, 2, 3))
    by_noise_of_both = differences > 0.0024
    assert 4 <= int(by_noise_of_both.sum()) <= 16
    torch.testing.assert_close(
        differences[by_noise_of_both], torch.tensor(0.0028).expand(20)[by_noise_of_both], rtol=0.1, atol=0
    )
    torch.testing.assert_close(
        differences[~by_noise_of_both], torch.tensor(0.002).expand(20)[~by_noise_of_both], rtol=0.1, atol=0
    )


def test_noise_passed_is_the_difference_of_images_over_that_of_sources_beside_spots():
    lr = torch.rand(4, 1, 8, 8)
    lr[2:] = lr[:2] + 0.1 * torch.randn(2, 1, 8, 8)
    sr = torch.repeat_interleave(torch.repeat_interleave(lr, 4, -1), 4, -2)
    quiet = torch.ones(4, 1, 32, 32)
    assert float(noise_passed(sr, lr, quiet, 2)) == pytest.approx(1, abs=1e-3)
    sr[3, :, :8, :8], quiet[3, :, :8, :8] = 5, 0
    assert float(noise_passed(sr, lr, quiet, 2)) == pytest.approx(1, abs=1e-3)
    sr[2:] = sr[:2] + 0.5 * (sr[2:] - sr[:2])
    sr[3, :, :8, :8] = 5
    assert float(noise_passed(sr, lr, quiet, 2)) == pytest.approx(0.5, abs=1e-3)


def test_a_batch_repeats_patches_for_the_noise_they_pass_on(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        yaml.safe_dump({**yaml.safe_load(TINY), "noise_pairs": 2, "batch": 5, "loss": {"noise_passed": 0.1}})
    )
    batch = PatchSampler(read_config(path), SAMPLE.parent).batch(3)
    assert torch.equal(batch.hr[1:3], batch.hr[3:])
    assert torch.equal(batch.gain[1:3], batch.gain[3:])
    assert not torch.equal(batch.lr[1:3], batch.lr[3:])
    torch.testing.assert_close(batch.lr[1:3], batch.lr[3:], rtol=0, atol=0.2)
    assert not torch.equal(batch.hr[0], batch.hr[1])
