"""Noise, blur and registration measured on scenes for which they are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtr

from geosr.evaluate.scene.blur import measure_blur
from geosr.evaluate.scene.measure import far_from_profile, measure_band
from geosr.evaluate.scene.noise import measure_noise
from geosr.evaluate.scene.registration import measure_registration
from tests.conftest import RGBN, call_geosr, write_raster

DN = 1e-4


def everywhere(image):
    return np.ones(image.shape, dtype=bool)


def calm(deviation, side=192, seed=0):
    """Calm ground, brighter to the right, with textured ground below it."""
    rng = np.random.default_rng(seed)
    ground = np.full((side, side), 0.05) + np.linspace(0, 0.2, side)
    ground[side // 2 :] += 0.03 * ndimage.gaussian_filter(rng.standard_normal((side // 2, side)), 1.5)
    return ground + deviation * rng.standard_normal((side, side))


def fields(sigma_px, side=192, step=0.08, angles=(0.2, 0.45, -0.3)):
    """Bands of fields whose borders lie askew, blurred and sampled exactly."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    image = np.full((side, side), 0.12)
    for third, angle in enumerate(angles):
        rows = slice(third * side // 3, (third + 1) * side // 3)
        # Distances between borders are wide enough for flat sides.
        for i in range(1, side // 24):
            distance = (x - 24 * i) * np.cos(angle) + (y - rows.start - side / 6) * np.sin(angle)
            image[rows] += (-1) ** i * step * ndtr(distance / sigma_px)[rows]
    return image


class TestNoise:
    @pytest.mark.parametrize("deviation", [0.0005, 0.002])
    def test_deviation_is_found_beside_ramps_and_texture(self, deviation):
        image = calm(deviation)
        assert measure_noise(image, everywhere(image), DN).deviation == pytest.approx(deviation, rel=0.12)

    def test_noise_that_grows_with_the_signal_is_seen_to(self):
        rng = np.random.default_rng(1)
        ground = np.repeat(np.linspace(0.02, 0.4, 12), 16) * np.ones((192, 1))
        image = ground + np.sqrt(1e-8 + 1e-5 * ground) * rng.standard_normal(ground.shape)
        by_signal = measure_noise(image, everywhere(image), DN).by_signal
        assert [one.reflectance for one in by_signal] == sorted(one.reflectance for one in by_signal)
        for one in by_signal:
            assert one.deviation == pytest.approx(np.sqrt(1e-8 + 1e-5 * one.reflectance), rel=0.12)

    def test_noise_of_a_resampled_product_is_correlated_between_neighbours(self):
        image = calm(0.002)
        assert abs(measure_noise(image, everywhere(image), DN).neighbour_correlation) < 0.1
        halfway = (image[:, 1:] + image[:, :-1]) / 2
        assert measure_noise(halfway, everywhere(halfway), DN).neighbour_correlation > 0.15

    def test_pixels_without_measurement_are_no_noise(self):
        image, measured = calm(0.001), np.ones((192, 192), dtype=bool)
        measured[::40, ::40] = False
        image[~measured] = 6.5
        assert measure_noise(image, measured, DN).deviation == pytest.approx(0.001, rel=0.12)

    def test_a_scene_of_one_dn_has_none_to_be_measured(self):
        flat = np.full((64, 64), 0.0001)
        assert np.isnan(measure_noise(flat, everywhere(flat), DN).deviation)


class TestBlur:
    @pytest.mark.parametrize("sigma_px", [0.45, 0.52, 0.7])
    def test_blur_is_that_of_the_edges(self, sigma_px):
        image = fields(sigma_px) + 0.0005 * np.random.default_rng(0).standard_normal((192, 192))
        found = measure_blur(image, everywhere(image), 0.0005)
        assert found.edges > 20
        assert found.sharpest_px == pytest.approx(sigma_px, rel=0.05)
        assert found.median_px == pytest.approx(sigma_px, rel=0.05)

    def test_soft_ground_does_not_hide_the_sensor(self):
        image = np.concatenate([fields(0.52), fields(0.9), fields(0.9)])
        found = measure_blur(image, everywhere(image), 0.0)
        assert found.sharpest_px == pytest.approx(0.52, rel=0.05)
        assert found.median_px > found.sharpest_px + 0.02

    def test_edges_along_the_grid_do_not_count(self):
        image = fields(0.52, angles=(0.0, 0.0, 0.0))
        found = measure_blur(image, everywhere(image), 0.0)
        assert np.isnan(found.sharpest_px)

    def test_calm_ground_has_no_edges(self):
        image = calm(0.001)
        assert measure_blur(image, everywhere(image), 0.001).edges == 0


class TestRegistration:
    ground = 0.1 + 0.02 * ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((192, 192)), 1)

    def test_shift_of_a_band_is_found(self):
        moved = ndimage.fourier_shift(np.fft.fft2(self.ground), (0.3, -0.2))
        band = 0.05 + 0.8 * np.fft.ifft2(moved).real
        found = measure_registration(band, self.ground, everywhere(band))
        assert (found.dy_px, found.dx_px) == pytest.approx((0.3, -0.2), abs=0.03)
        assert found.median_px == pytest.approx(np.hypot(0.3, 0.2), abs=0.03)
        assert found.tiles == 9

    def test_tiles_with_holes_or_other_ground_do_not_count(self):
        band = self.ground.copy()
        band[:64, :64] = np.random.default_rng(3).standard_normal((64, 64))
        measured = everywhere(band)
        measured[100, 100] = False
        found = measure_registration(band, self.ground, measured)
        assert found.tiles == 7
        assert found.p95_px == 0


def test_a_scene_far_from_its_profile_is_told():
    blurred = fields(0.9) + 0.002 * np.random.default_rng(0).standard_normal((192, 192))
    soft = measure_band(
        "B04", blurred, everywhere(blurred), blurred, everywhere(blurred), DN, nominal_noise=0.0005, mtf_nyquist=0.24
    )
    sharp = fields(0.54) + 0.0005 * np.random.default_rng(0).standard_normal((192, 192))
    near = measure_band(
        "B04", sharp, everywhere(sharp), sharp, everywhere(sharp), DN, nominal_noise=0.0005, mtf_nyquist=0.24
    )
    told = far_from_profile([soft])
    assert len(told) == 2
    assert "noise of 0.00" in told[0]
    assert "blur of 0.8" in told[1]
    assert far_from_profile([near]) == ()


class TestCommand:
    @pytest.fixture
    def scene(self, tmp_path):
        noise = np.random.default_rng(0).standard_normal((4, 192, 192))
        dn = np.stack([fields(0.53)] * 4) * 1e4 + 5 * noise
        return write_raster(tmp_path / "scene.tif", np.rint(dn).astype(np.uint16), names=RGBN)

    def test_tells_every_band(self, scene, capsys):
        assert call_geosr("measure", scene, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert [band["name"] for band in told["bands"]] == list(RGBN)
        assert told["window"] == [0, 0, 192, 192]
        for band in told["bands"]:
            assert band["noise_dn"] == pytest.approx(5, rel=0.2)
            assert band["blur"]["sharpest_px"] == pytest.approx(0.53, rel=0.06)
            assert band["registration"]["median_px"] < 0.1
        assert told["warnings"] == []

    def test_prints_a_row_a_band(self, scene, capsys):
        assert call_geosr("measure", scene) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines if line.strip().startswith("B0")] == list(RGBN)

    def test_a_source_that_is_not_there_is_one_line(self, tmp_path, capsys):
        assert call_geosr("measure", tmp_path / "no.tif") == 1
        assert "no.tif" in capsys.readouterr().err
