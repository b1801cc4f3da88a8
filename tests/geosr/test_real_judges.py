"""Judges on real images, held against products whose answers are known: an oracle, bicubic, and bicubic plus noise."""

from __future__ import annotations

import json
from datetime import date
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from geosr.errors import UsageError
from geosr.evaluate.real import dates, detail, edges, fidelity, noise, several_dates
from geosr.evaluate.real.crops import choose
from geosr.evaluate.real.evaluation import scene_warnings
from geosr.evaluate.real.subject import BANDS, VISIBLE, Subject, interpolation, subject_of
from geosr.model.sensor import upsample
from tests.conftest import RGBN, call_geosr, write_raster

TRANSFERS = dict(zip(BANDS, (0.26, 0.28, 0.24, 0.26), strict=True))
SENSOR_NOISE = 0.0006


def subject(upscale, bands=BANDS):
    return Subject("known", bands, upscale, {one: TRANSFERS[one] for one in bands}, upscale)


def bicubic(lr):
    return upsample(lr[None], 4)[0]


def nearest(lr):
    return lr.repeat_interleave(4, 1).repeat_interleave(4, 2)


def plus_noise(deviation, seed=3):
    def upscale(lr):
        sr = bicubic(lr)
        return sr + deviation * torch.randn(sr.shape, generator=torch.Generator().manual_seed(seed))

    return upscale


@cache
def texture(side=256, bands=3, seed=0):
    """Ground with detail at all scales down to the finest pixels, the same in all bands but for a factor."""
    rng = np.random.default_rng(seed)
    fine = sum(ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma) * sigma for sigma in (1, 2, 4, 8))
    fine = 0.1 + 0.02 * (fine - fine.mean()) / fine.std()
    return torch.from_numpy(np.stack([fine * (1 + 0.1 * i) for i in range(bands)]).astype(np.float32))


def observed(truth, bands=VISIBLE, deviation=SENSOR_NOISE, seed=0):
    seen = subject(bicubic, bands).sensor(bands).observe(truth[None])[0]
    return seen + deviation * torch.randn(seen.shape, generator=torch.Generator().manual_seed(seed))


class TestNoiseOnCalmGround:
    source = 0.02 + 0.001 * torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(0))
    calm = np.ones((64, 64), dtype=bool)

    def test_repeated_pixels_keep_their_noise(self):
        assert noise.noise_gain(nearest(self.source), self.source, self.calm) == pytest.approx([1] * 4, abs=0.03)

    def test_bicubic_has_a_little_less(self):
        gains = noise.noise_gain(bicubic(self.source), self.source, self.calm)
        assert 0.75 < min(gains) < max(gains) < 0.9

    def test_noise_that_is_added_shows(self):
        gains = noise.noise_gain(plus_noise(0.002)(self.source), self.source, self.calm)
        expected = np.hypot(np.array(noise.noise_gain(bicubic(self.source), self.source, self.calm)), 2)
        assert gains == pytest.approx(list(expected), rel=0.06)

    def test_a_ramp_is_no_noise(self):
        ramp = self.source + torch.linspace(0, 0.02, 64)
        inside = self.calm.copy()
        inside[:, :8] = inside[:, -8:] = False
        expected = noise.noise_gain(bicubic(self.source), self.source, inside)
        assert noise.noise_gain(bicubic(ramp), ramp, inside) == pytest.approx(expected, rel=0.02)

    def test_too_little_calm_ground_says_nothing(self):
        few = np.zeros((64, 64), dtype=bool)
        few[:5, :5] = True
        assert np.isnan(noise.noise_gain(nearest(self.source), self.source, few)).all()

    def test_water_is_dark_in_infrared_and_away_from_its_shore(self):
        scene = torch.full((4, 20, 20), 0.1)
        scene[:, 5:15, 5:15] = torch.tensor([0.03, 0.04, 0.02, 0.01])[:, None, None]
        calm = noise.calm_water(scene, BANDS)
        # A diamond of two pixels taken off a square of ten leaves one of six.
        assert calm.sum() == 36
        assert calm[7:13, 7:13].all()

    def test_without_infrared_no_water_is_known(self):
        assert not noise.calm_water(torch.full((3, 20, 20), 0.001), VISIBLE).any()


class TestNoisePassedOn:
    clean = torch.full((4, 48, 48), 0.1)

    def test_of_repeated_pixels_is_all_of_it(self):
        assert noise.passed_noise(subject(nearest), self.clean, BANDS, 0.001) == pytest.approx([1] * 4, abs=0.05)

    def test_of_a_product_twice_as_strong_is_twice_as_much(self):
        doubled = subject(lambda lr: 2 * nearest(lr))
        assert noise.passed_noise(doubled, self.clean, BANDS, 0.002) == pytest.approx([2] * 4, abs=0.1)

    def test_of_an_oracle_is_none(self):
        oracle = subject(lambda lr: nearest(self.clean))
        assert noise.passed_noise(oracle, self.clean, BANDS, 0.001) == [0] * 4

    def test_grows_with_steps_of_back_projection(self):
        like = subject(bicubic)
        gains = [
            np.mean(noise.passed_noise(interpolation("", like, steps), self.clean, BANDS, 0.001))
            for steps in (0, 1, 16)
        ]
        assert gains[0] < 0.9 < 1.1 < gains[1] < 2 < gains[2]


class TestAgreementOfBands:
    def test_is_full_where_bands_have_the_same_detail(self):
        truth = texture()
        assert detail.agreement(truth, observed(truth, deviation=0), VISIBLE) > 0.99

    def test_is_none_where_noise_was_added(self):
        lr = torch.full((3, 32, 32), 0.1)
        assert abs(detail.agreement(plus_noise(0.001)(lr), lr, VISIBLE)) < 0.05

    def test_is_judged_where_asked(self):
        lr, where = torch.full((3, 32, 32), 0.1), np.zeros((32, 32), dtype=bool)
        sr = plus_noise(0.001)(lr)
        where[:, :16] = True
        sr[:, :, :64] = bicubic(lr)[:, :, :64] + torch.randn(128, 64, generator=torch.Generator().manual_seed(0))
        assert detail.agreement(sr, lr, VISIBLE, where) > 0.99
        assert detail.agreement(sr, lr, VISIBLE, ~where) < 0.1

    def test_is_undefined_for_one_band(self):
        lr = torch.full((1, 8, 8), 0.1)
        assert np.isnan(detail.agreement(nearest(lr), lr, ("B04",)))


class TestRange:
    lr = torch.full((4, 32, 32), 0.1)

    def test_of_repeated_pixels_is_that_of_the_source(self):
        found = detail.value_range(nearest(self.lr), self.lr, BANDS)
        assert (found.floor_share, found.too_high_share, found.extreme_index_share) == (0, 0, 0)
        assert found.largest == found.source_largest == pytest.approx(0.1)

    def test_counts_the_floor_values_too_high_and_extreme_indices(self):
        sr = nearest(self.lr)
        sr[0, 0, 0] = -0.01
        sr[1, 0, 1] = 0.16
        sr[2, 0, 2] = 0.0001
        found = detail.value_range(sr, self.lr, BANDS)
        pixels = 128 * 128
        assert found.floor_share == pytest.approx(2 / (4 * pixels))
        assert found.too_high_share == pytest.approx(1 / (4 * pixels))
        assert found.extreme_index_share == pytest.approx(1 / pixels)

    def test_allows_what_a_bright_pixel_within_three_can_hide(self):
        lr, sr = self.lr.clone(), nearest(self.lr)
        lr[:, 10, 10] = 0.2
        sr[:, 4 * 13, 4 * 10] = 0.29
        assert detail.value_range(sr, lr, BANDS).too_high_share == 0
        sr[:, 4 * 14, 4 * 10] = 0.29
        assert detail.value_range(sr, lr, BANDS).too_high_share == pytest.approx(1 / 128**2)


class TestEdges:
    def test_repeated_pixels_never_leave_the_edge(self):
        assert edges.overshoot(subject(nearest), BANDS, 1.0) == pytest.approx(0, abs=1e-5)

    def test_back_projection_overshoots_more_where_the_source_is_sharper(self):
        one = interpolation("", subject(bicubic), 3)
        shares = [edges.overshoot(one, BANDS, factor) for factor in (0.8, 1.0, 1.2)]
        assert shares == sorted(shares, reverse=True)
        assert shares[1] == pytest.approx(0.113, abs=0.01)

    def test_a_bright_pixel_reaches_no_farther_than_bicubic_does(self):
        assert edges.reach_of_bright_pixel(subject(bicubic), torch.full((4, 64, 64), 0.1), BANDS) == 0

    def test_a_product_of_the_mean_is_moved_everywhere(self):
        scene = torch.full((4, 64, 64), 0.1)
        moved = edges.reach_of_bright_pixel(
            subject(lambda lr: bicubic(lr) + lr.mean(dim=(1, 2), keepdim=True)), scene, BANDS, places=1
        )
        assert moved == pytest.approx(1.1e4 / 49**2, rel=0.05)


class TestResidual:
    truth = texture(bands=4)
    clean = observed(truth, BANDS, deviation=0)

    def test_of_an_oracle_is_the_noise(self):
        found = fidelity.residual(subject(lambda lr: self.truth), self.clean, BANDS, 0.001)
        assert found.in_noise == pytest.approx(1, abs=0.05)
        assert found.in_dn == pytest.approx(10, abs=0.5)

    def test_of_many_steps_is_small(self):
        steps = interpolation("", subject(bicubic), 16)
        found = fidelity.residual(steps, self.clean, BANDS, 0.001)
        assert found.in_noise < 0.2
        assert found.blocks_dn < 0.5

    def test_of_a_brighter_product_is_its_blocks(self):
        brighter = subject(lambda lr: self.truth + 0.001)
        assert fidelity.residual(brighter, self.clean, BANDS, 1e-6).blocks_dn == pytest.approx(10, abs=0.1)


def test_bicubic_gains_nothing_over_itself():
    truth = texture(bands=4)
    assert fidelity.gain_at_blur(subject(bicubic), [truth], BANDS, 0.8) == 0
    assert fidelity.gain_at_blur(subject(lambda lr: truth), [truth], BANDS, 0.8) == float("inf")


@pytest.mark.parametrize("quality", [60, None])
def test_compressed_images_are_held_against_bicubic_of_the_same_file(quality):
    truth = texture(128)
    ours, plain = fidelity.compressed(subject(bicubic), [truth], quality)
    assert ours == pytest.approx(plain, abs=1e-3)
    worse, plain = fidelity.compressed(subject(plus_noise(0.05)), [truth], quality)
    assert worse < plain - 3


def dn_of(image):
    return np.rint(image.numpy() * 1e4).clip(1, 65534).astype(np.uint16)


def series_of(folder, shifts=((0, 0), (1.6, -0.8), (-2, 1.2)), hidden=True):
    """Dates of one ground, each moved by so many fine pixels, with noise of its own."""
    folder.mkdir(parents=True)
    truth = texture(160)
    for i, shift in enumerate(shifts):
        moved = np.stack([ndimage.shift(band, shift, mode="nearest") for band in truth.numpy()])
        dn = dn_of(observed(torch.from_numpy(moved), seed=i))
        if hidden:
            dn[:, :6, :9] = 65535
        write_raster(folder / f"2023-07-{3 + 5 * i:02}.tif", dn, names=VISIBLE, nodata=65535)
    return truth


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    series_of(folder / "a")
    return dates.find_pairs(folder)


class TestOtherDates:
    def test_every_near_date_is_predicted_from_every_other(self, pairs):
        days = {(pair.source.when.day, pair.target.when.day) for pair in pairs}
        assert days == {(3, 8), (8, 3), (8, 13), (13, 8), (3, 13), (13, 3)}
        assert pairs[0].source.when == date(2023, 7, 3)

    def test_shifts_are_found(self, pairs):
        found = next(pair for pair in pairs if (pair.source.when.day, pair.target.when.day) == (3, 8))
        assert found.shift_px == pytest.approx((0.4, -0.2), abs=0.05)

    def test_an_oracle_leaves_less_than_bicubic_and_noise_more(self, pairs):
        truth = texture(160)
        some = [pair for pair in pairs if pair.source.when.day == 3]
        left = [
            np.mean(dates.left_over(subject(one, VISIBLE), some))
            for one in (lambda lr: truth, bicubic, plus_noise(0.02))
        ]
        assert left[0] < 0.02 < left[1] < left[2]

    def test_a_model_that_needs_infrared_is_given_the_mean_of_the_visible_bands(self, pairs):
        seen = []

        def upscale(lr):
            seen.append(lr)
            return bicubic(lr)

        with_infrared = dates.left_over(subject(upscale), pairs[:1])
        assert torch.allclose(seen[0][3], seen[0][:3].mean(dim=0))
        assert with_infrared == pytest.approx(dates.left_over(subject(bicubic, VISIBLE), pairs[:1]))

    def test_hidden_pixels_do_not_count(self, pairs):
        assert not pairs[0].judged[:9, :12].any()
        assert pairs[0].judged[12:30, 12:30].all()
        assert pairs[0].source.pixels.max() < 1

    def test_the_best_of_the_baselines_is_no_worse_than_any(self, pairs):
        strength, shares = dates.best_smoothing(pairs)
        assert strength in dates.SMOOTHINGS_PX
        assert np.mean(shares) <= np.mean(dates.left_over_by_interpolation(pairs, 0.0))

    def test_changed_ground_makes_no_pair(self, tmp_path):
        series_of(tmp_path / "s" / "a", shifts=((0, 0),))
        other = dn_of(observed(texture(160, seed=5)))
        write_raster(tmp_path / "s" / "a" / "2023-07-08.tif", other, names=VISIBLE, nodata=65535)
        with pytest.raises(UsageError, match="no pairs of clear dates"):
            dates.find_pairs(tmp_path / "s")

    def test_an_image_of_several_dates_leaves_less(self, tmp_path):
        series_of(tmp_path / "a", shifts=((0, 0), (1.6, -0.8), (-2, 1.2), (0.8, 1.6)))
        pairs = [one for one in dates.find_pairs(tmp_path) if one.source.when.day == 8]
        judged = subject(bicubic, VISIBLE)
        shares = several_dates.left_over_by_count(judged, pairs, tmp_path, (1, 2, 3))
        assert shares[1] == pytest.approx(dates.left_over(judged, pairs))
        assert np.mean(shares[3]) < 0.97 * np.mean(shares[2])
        assert np.mean(shares[2]) < 0.97 * np.mean(shares[1])

    def test_a_file_that_is_no_date_is_named(self, tmp_path):
        write_raster(tmp_path / "summer.tif", np.ones((3, 8, 8), np.uint16), names=VISIBLE)
        with pytest.raises(UsageError, match=r"summer\.tif is no date"):
            dates.read_series(tmp_path)


def test_a_shipped_model_is_judged_without_its_half_widths():
    assert subject_of("backprojection").bands == BANDS
    made = subject_of("bicubic")(torch.full((4, 8, 8), 0.1), BANDS)
    assert made.shape == (4, 32, 32)


def water_scene(side=96):
    """Land with water in a corner."""
    rng = np.random.default_rng(0)
    ground = np.stack([texture(4 * side)[0].numpy()[::4, ::4]] * 4)
    ground[3] *= 3
    ground[:, :48, :48] = np.array([0.03, 0.04, 0.02, 0.008])[:, None, None]
    ground = np.stack([ndimage.gaussian_filter(band, 1) for band in ground])
    ground += 0.0006 * rng.standard_normal(ground.shape)
    return torch.from_numpy(ground.astype(np.float32))


def test_places_are_calm_water_calm_land_and_the_most_contrast():
    scene = water_scene()
    crops = {one.what: one for one in choose(scene, noise.calm_water(scene, BANDS), {"bicubic": bicubic(scene)})}
    assert list(crops) == ["calm water", "calm land", "most contrast"]
    water = crops["calm water"]
    assert water.top_px + water.side_px <= 48
    assert water.left_px + water.side_px <= 48
    assert water.images["bicubic"].shape == (3, 160, 160)
    assert water.source == pytest.approx(
        scene[:3, water.top_px : water.top_px + 40, water.left_px : water.left_px + 40].double().numpy()
    )
    assert water.limits[0] < water.limits[1] < crops["most contrast"].limits[1]


@pytest.fixture(scope="module")
def real_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "s2").mkdir()
    write_raster(folder / "s2" / "austria_b.tif", dn_of(water_scene()), names=RGBN)
    series_of(folder / "series" / "a", shifts=((0, 0), (1.6, -0.8)))
    return folder


class TestCommand:
    def test_writes_figures_and_places(self, real_data, tmp_path, capsys):
        out = tmp_path / "out"
        code = call_geosr("evaluate", "bicubic", real_data, "--real", "--output", out, "--json")
        told, notes = capsys.readouterr()
        assert code == 0, notes
        told = json.loads(told)
        assert told == json.loads((out / "evaluation.json").read_text())
        ours, steps = told["real"]["bicubic #2"], told["real"]["back-projection"]
        assert told["model"] == "bicubic #2"
        baseline = {key: value for key, value in ours.items() if not key.endswith(" used")}
        assert baseline == told["real"]["bicubic"]
        assert ours["noise gain on water, B02"] < 1 < 1.2 < steps["noise gain on water, B02"]
        assert ours["pairs of dates"] == 2
        assert ours["left over of another date"] < 0.25
        assert "over bicubic, PNG, dB" not in ours
        assert [one["what"] for one in told["places"]] == ["calm water", "calm land", "most contrast"]
        page = (out / "report.html").read_text()
        assert page.count("data:image/png;base64,") == 3 * (1 + 3)
        assert "noise gain on water, B02" in page
        assert "left out" in notes
        # The scene is a sheet of one texture in all bands with little noise: nothing is far from the profile.
        assert told["warnings"] == []


def test_a_scene_with_too_much_noise_is_warned_of(tmp_path):
    (tmp_path / "s2").mkdir()
    grainy = water_scene() + 0.004 * torch.randn(4, 96, 96, generator=torch.Generator().manual_seed(0))
    write_raster(tmp_path / "s2" / "austria_b.tif", dn_of(grainy), names=RGBN)
    told = scene_warnings(tmp_path)
    assert [one.split(" has ")[0] for one in told if "noise of 0.00" in one] == [f"austria_b: {one}" for one in BANDS]

    def test_refuses_a_folder_without_real_images(self, tmp_path, capsys):
        assert call_geosr("evaluate", "bicubic", tmp_path, "--real") == 2
        assert "no real image to judge on" in capsys.readouterr().err

    def test_refuses_rasters_taken_as_the_truth(self, real_data, capsys):
        assert call_geosr("evaluate", "bicubic", real_data, "--real", "--full-scale", "255") == 2
        assert "--full-scale" in capsys.readouterr().err
