"""Several dates make one image: the sensor under a shift, registration, masks, and the correction of a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.half_width import width_factor
from geosr.dates.sampling import ShiftedSensor, gram_kernel
from geosr.dates.solve import solve
from geosr.dates.survey import DateFit, Tile, Unused, survey_dates, tile_windows
from geosr.dates.weights import local_power
from geosr.model.card import DatesCalibration
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor, upsample
from geosr.release.dates_calibration import fit as fit_calibration

MTF = (0.26, 0.24)
SIGMAS = [mtf_to_sigma(one, 4) for one in MTF]
SENSOR = Sensor(SIGMAS, 4)
SHIFTS = ((0.4, -0.3), (-0.2, 0.5), (0.3, 0.3))
SIDE = 72


def ground(seed: int = 0) -> np.ndarray:
    """Fields with sharp borders and some grain, reflectance ``(2, 4 SIDE, 4 SIDE)``."""
    rng = np.random.default_rng(seed)
    image = np.full((4 * SIDE, 4 * SIDE), 0.12)
    for _ in range(300):
        top, left = rng.integers(0, 4 * SIDE - 8, 2)
        height, width = rng.integers(6, 60, 2)
        image[top : top + height, left : left + width] += rng.normal(0, 0.025)
    image = 0.12 + 0.5 * (image - 0.12) + 0.01 * ndimage.gaussian_filter(rng.normal(size=image.shape), 1.0)
    image = np.clip(image, 0.02, 0.4)
    return np.stack([image, 0.05 + 0.8 * image]).astype(np.float32)


def seen(truth: np.ndarray, shift: tuple[float, float], seed: int, noise: float = 0.001) -> np.ndarray:
    lr = ShiftedSensor(SIGMAS, 4, shift).observe(truth)
    return lr + np.float32(noise) * np.random.default_rng(seed).normal(size=lr.shape).astype(np.float32)


def single(lr: np.ndarray) -> np.ndarray:
    """One date's product, without a network."""
    source = torch.from_numpy(lr)[None]
    return SENSOR.back_project(upsample(source, 4), source, None, 2)[0].numpy()


@pytest.fixture(scope="module")
def dates():
    truth = ground()
    return truth, [seen(truth, shift, i) for i, shift in enumerate(((0.0, 0.0), *SHIFTS))]


def everywhere(lr):
    return np.ones(lr.shape[1:], dtype=bool)


def survey(frames, valid=None):
    valid = valid or [everywhere(one) for one in frames]
    tiles = [
        Tile(rows.start, cols.start, [one[:, rows, cols] for one in frames], [one[rows, cols] for one in valid])
        for rows, cols in tile_windows(valid[0].shape)
    ]
    return survey_dates(tiles, MTF, SENSOR, valid[0].shape)


def corrected(frames, valid=None):
    valid = valid or [everywhere(one) for one in frames]
    windows = [DatedWindow(*one) for one in zip(frames, valid, strict=True)]
    return correction(single(frames[0]), windows[0], windows[1:], survey(frames, valid), SENSOR)


def error(image, truth):
    return float(np.sqrt(np.mean((image - truth)[:, 32:-32, 32:-32] ** 2)))


def test_a_sensor_without_shift_is_the_models(dates):
    truth, _ = dates
    expected = SENSOR.observe(torch.from_numpy(truth)[None])[0].numpy()
    np.testing.assert_allclose(ShiftedSensor(SIGMAS, 4, (0.0, 0.0)).observe(truth), expected, atol=1e-6)
    np.testing.assert_allclose(SENSOR.sigmas, SIGMAS, rtol=1e-5)


def test_a_whole_pixel_shift_is_the_next_pixel(dates):
    truth, _ = dates
    here, there = (ShiftedSensor(SIGMAS, 4, one).observe(truth) for one in ((0.0, 0.0), (1.0, 0.0)))
    np.testing.assert_allclose(there[:, 4:-5], here[:, 5:-4], atol=1e-5)


@pytest.mark.parametrize("varying", [False, True])
def test_spreading_is_the_adjoint_of_observing(varying):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 80, 96)).astype(np.float32)
    values = np.zeros((2, 20, 24), np.float32)
    values[:, 5:-5, 5:-5] = rng.normal(size=(2, 10, 14))
    departure = 0.1 * rng.random((2, 20, 24)).astype(np.float32) if varying else None
    sensor = ShiftedSensor(SIGMAS, 4, (0.37, -0.8))
    one = float((sensor.observe(image, departure) * values).sum())
    assert one == pytest.approx(float((image * sensor.spread(values, departure)).sum()), rel=1e-4)


def test_shifts_that_vary_a_little_follow_from_their_mean(dates):
    truth, _ = dates
    departure = np.full((2, SIDE, SIDE), 0.05, np.float32)
    mean = ShiftedSensor(SIGMAS, 4, (0.3, -0.2))
    exact = ShiftedSensor(SIGMAS, 4, (0.35, -0.15)).observe(truth)
    missed = np.abs(mean.observe(truth) - exact).max()
    assert np.abs(mean.observe(truth, departure) - exact).max() < 0.15 * missed


def test_the_overlap_of_dates_is_observing_what_was_spread():
    shifts = [(0.37, -0.8), (-0.2, 0.5)]
    values = np.zeros((2, 30, 30), np.float32)
    values[:, 10:-10, 10:-10] = np.random.default_rng(2).normal(size=(2, 10, 10))
    first, second = (ShiftedSensor(SIGMAS, 4, one) for one in shifts)
    kernel = gram_kernel(SIGMAS, 4, shifts)
    both = torch.from_numpy(np.stack([values, 0 * values], axis=1).reshape(1, 4, 30, 30))
    overlap = F.conv2d(both, kernel, padding=kernel.shape[-1] // 2, groups=2).reshape(2, 2, 30, 30).numpy()
    np.testing.assert_allclose(overlap[:, 0], first.observe(first.spread(values)), atol=1e-5)
    np.testing.assert_allclose(overlap[:, 1], second.observe(first.spread(values)), atol=1e-5)


def test_the_solution_solves_its_equations_and_is_nothing_without_weight():
    shifts = [(0.0, 0.0), *SHIFTS]
    kernel = gram_kernel(SIGMAS, 4, shifts)
    generator = torch.Generator().manual_seed(0)
    residual = torch.randn((1, 8, 40, 40), generator=generator)
    weights = torch.rand((1, 8, 40, 40), generator=generator) * 30 + 1
    weights[..., :20, :] = 0
    values = solve(residual, weights, kernel, 2, 31.0)
    assert (values[..., :20, :] == 0).all()
    left = F.conv2d(values, kernel, padding=kernel.shape[-1] // 2, groups=2) + values / weights - residual
    assert float(left[..., 20:, :].norm() / residual[..., 20:, :].norm()) < 0.02


def test_dates_are_registered_though_a_third_is_cloudy(dates):
    _, frames = dates
    frames = [frames[0], *(one.copy() for one in frames[1:])]
    frames[2][:, :, : SIDE // 3] = 0.5
    fits = survey(frames).dates
    for fit, shift in zip(fits, SHIFTS, strict=True):
        assert isinstance(fit, DateFit)
        np.testing.assert_allclose(fit.shift_px, shift, atol=0.08)


def test_gain_and_offset_of_a_date_are_found(dates):
    _, frames = dates
    (fit,) = survey([frames[0], 0.9 * frames[1] + 0.01]).dates
    assert isinstance(fit, DateFit)
    np.testing.assert_allclose([line.gain for line in fit.lines], 1 / 0.9, rtol=0.03)


def test_dates_of_the_same_weeks_count_for_more(dates):
    _, frames = dates
    noisy = [frames[0], *(one + 0.01 * np.random.default_rng(3).normal(size=one.shape) for one in frames[1:3])]
    near, far = survey_dates(
        [Tile(0, 0, noisy, [everywhere(frames[0])] * 3)], MTF, SENSOR, (SIDE, SIDE), [5, 365]
    ).dates
    assert isinstance(near, DateFit)
    assert isinstance(far, DateFit)
    assert min(near.weight) > 3 * max(far.weight)


def test_further_dates_bring_the_image_nearer_to_the_ground(dates):
    truth, frames = dates
    image = single(frames[0])
    errors = [error(image, truth)]
    for count in (2, 4):
        change, weights = corrected(frames[:count])
        assert (weights > 0).mean() > 0.9
        errors.append(error(image + change, truth))
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 0.97 * errors[1]


def test_on_calm_water_dates_bring_less_noise_than_one_date_has():
    truth = ground()
    truth[:, :, 4 * 30 :] = 0.05
    frames = [seen(truth, shift, i) for i, shift in enumerate(((0.0, 0.0), *SHIFTS))]
    windows = [DatedWindow(one, everywhere(one)) for one in frames]
    image = single(frames[0])
    # As a network leaves it.
    image[:, :, 4 * 30 :] = 0.05
    change, weights = correction(image, windows[0], windows[1:], survey(frames), SENSOR)
    assert (weights[:, :, 48:] > 1).all()
    assert change[:, 32:-32, 4 * 48 : -32].std() < 0.5 * 0.001
    assert change[:, 32:-32, 32 : 4 * 24].std() > 0.002


def test_detail_is_as_strong_beside_pixels_that_were_not_measured():
    rows, cols = np.mgrid[:24, :24]
    detail = np.where((rows + cols) % 2, 0.003, -0.003)[None]
    measured = cols < 12
    found = local_power(np.where(measured, detail, 1.0), measured, 2.0)
    np.testing.assert_allclose(found[:, measured], 9e-6)


def test_coarse_means_stay_the_references(dates):
    _, frames = dates
    lifted = [frames[0], *(one + 0.02 for one in frames[1:])]
    change, _ = corrected(lifted)
    assert np.abs(change).max() > 0.003
    means = F.avg_pool2d(torch.from_numpy(change)[None], 32)[0, :, 1:-1, 1:-1]
    assert float(means.abs().max()) < 0.001


def test_without_a_usable_date_nothing_changes(dates):
    _, frames = dates
    hidden = np.zeros((SIDE, SIDE), bool)
    for other in (np.full_like(frames[0], 0.6), frames[1][:, ::-1].copy()):
        change, weights = corrected([frames[0], other])
        assert (change == 0).all()
        assert (weights == 0).all()
    change, _ = corrected(frames[:2], [everywhere(frames[0]), hidden])
    assert (change == 0).all()


def test_the_same_pixels_again_are_left_out(dates):
    _, frames = dates
    fits = survey([frames[0], frames[1], frames[1].copy(), frames[0].copy()]).dates
    assert [type(one) for one in fits] == [DateFit, Unused, Unused]
    assert fits[1].reason == "its pixels are those of date 1 of the others"
    assert fits[2].reason == "its pixels are those of the reference"
    change, _ = corrected(frames[:2])
    again, _ = corrected([frames[0], frames[1], frames[1].copy()])
    np.testing.assert_array_equal(change, again)


def test_a_cloudy_date_changes_next_to_nothing(dates):
    _, frames = dates
    cloudy = 0.3 * frames[3] + 0.35
    change, _ = corrected(frames[:3])
    again, weights = corrected([*frames[:3], cloudy])
    assert (weights[2] == 0).all()
    assert np.abs(again - change).max() < 1e-4


def test_a_date_shifted_by_a_pixel_more_says_the_same(dates):
    truth, frames = dates
    near, far = (seen(truth, (row, 0.3), 7, noise=0.0) for row in (-0.4, 0.6))
    change, _ = corrected([*frames[:2], near])
    again, _ = corrected([*frames[:2], far])
    assert np.abs(again - change)[:, 32:-32, 32:-32].std() < 5e-4


@pytest.mark.parametrize("move", [(1, 0), (0, -1), (-1, 1)])
def test_a_copy_that_is_moved_by_a_pixel_is_left_out(dates, move):
    _, frames = dates
    moved = np.roll(frames[0], move, axis=(1, 2))
    again = np.roll(frames[1], move, axis=(1, 2))
    assert [type(one) for one in survey([*frames[:2], moved, again]).dates] == [DateFit, Unused, Unused]


@pytest.mark.parametrize("contrast", [0.05, 0.15, -0.06])
def test_change_does_not_leak(dates, contrast):
    _, frames = dates
    changed = [one.copy() for one in frames]
    inside = np.zeros((SIDE, SIDE), bool)
    inside[24:44, 20:48] = True
    for one in changed[1:]:
        one[:, inside] += contrast
    change, _ = corrected(frames)
    again, _ = corrected(changed)
    inside_mean = (again - change)[:, 4 * 24 : 4 * 44, 4 * 20 : 4 * 48].mean()
    assert abs(inside_mean) < 0.01 * abs(contrast)
    rim = ndimage.binary_dilation(inside, iterations=3) ^ ndimage.binary_erosion(inside, iterations=3)
    fine = rim.repeat(4, 0).repeat(4, 1)
    side = np.where(inside.repeat(4, 0).repeat(4, 1), 1.0, -1.0)[fine]
    assert np.abs(((again - change)[:, fine] * side).mean()) < 0.01 * abs(contrast)


def test_half_widths_are_narrower_by_the_effective_number_of_dates():
    calibration = DatesCalibration(most=0.2, half_at=1.5)
    weights = np.zeros((2, 5, 6), np.float32)
    weights[:, :, 3:] = 100.0
    factor = width_factor(weights, calibration, 4)
    assert factor.shape == (20, 24)
    assert (factor[:, :12] == 1).all()
    # Each of the two dates counts half.
    np.testing.assert_allclose(factor[:, 16:], 1 - 0.2 * 1 / (1 + 1.5), rtol=1e-6)
    assert ((factor[:, 12:16] < 1) & (factor[:, 12:16] > factor[0, -1] - 1e-6)).all()


def test_the_calibration_for_dates_is_fitted_to_kinds_of_imagery_that_count_alike():
    def factors(number, most, half_at):
        return [1 - most * one / (one + half_at) for one in number]

    number = [0.3, 0.7, 1.5, 3.0, 6.0]
    found = fit_calibration([number, number[:3]], [factors(number, 0.15, 1.2), factors(number[:3], 0.15, 1.2)])
    assert found == pytest.approx((0.15, 1.2), rel=1e-3)
    more = 10 * [6.0]
    most, half_at = fit_calibration([more, more[:1]], [10 * [0.9], [0.8]])
    assert 1 - most * 6 / (6 + half_at) == pytest.approx(0.85, abs=1e-3)
