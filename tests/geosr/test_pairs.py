"""The steps of a pair set: shifts found, surfaces fitted, radiometry matched, patches judged, HR resampled once."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

import catalog
from catalog import SceneRequest
from geosr.errors import PairsError
from geosr.model.kernels import sensor_sigmas
from geosr.pairs.config import Imagery, PairsConfig, Screening, read_config
from geosr.pairs.resample import hr_on_lr_grid
from geosr.pairs.screen import examine
from geosr.pairs.sources import PairView, find_matches
from geosr.registration.align import measure_shift
from geosr.registration.harmonise import harmonise
from geosr.registration.observed import Observed, observe
from geosr.registration.shift_surface import ShiftSurface, fit_surface
from tests.conftest import REPOSITORY
from tests.pair_scenes import (
    GAIN,
    OFFSET,
    SCALE,
    SHIFT,
    TRANSFERS,
    moved,
    seen,
    two_sensors,
    write_config,
    write_pair,
)

MARGIN = 8


def patch_of(lr: np.ndarray, hr: np.ndarray, side: int = 48, at: int = 12) -> tuple[np.ndarray, np.ndarray, Observed]:
    """An LR patch, its validity, and the HR over it with a margin."""
    low = lr[:, at : at + side, at : at + side]
    first, last = SCALE * (at - MARGIN), SCALE * (at + side + MARGIN)
    high = hr[:, first:last, first:last]
    return low, np.ones(low.shape[1:], bool), observe(high, np.ones(high.shape[1:], bool), TRANSFERS, SCALE, MARGIN)


@pytest.fixture
def sensors(sample) -> tuple[np.ndarray, np.ndarray]:
    return two_sensors(sample)


def test_hr_is_seen_as_the_sensor_of_the_models_sees_it(sample):
    hr = sample / 10000.0
    _, _, observed = patch_of(seen(hr), hr)
    values, whole = observed.at(np.zeros(2))
    assert whole.all()
    np.testing.assert_allclose(values, seen(hr)[:, 12:60, 12:60], atol=2e-4)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -0.35), (-1.7, 2.4)])
def test_a_known_shift_is_found(sample, shift):
    lr, hr = two_sensors(sample, shift=shift)
    found = measure_shift(*patch_of(lr, hr), 4)
    assert (found.rows_px, found.cols_px) == pytest.approx(shift, abs=0.02)
    assert found.error_px < 0.02
    assert found.correlation > 0.98


def test_a_cloud_that_nobody_masked_does_not_move_the_patch(sensors):
    low, valid, observed = patch_of(*sensors)
    low = low.copy()
    low[:, 5:25, 8:30] = 0.7
    found = measure_shift(low, valid, observed, 4)
    assert (found.rows_px, found.cols_px) == pytest.approx(SHIFT, abs=0.05)


def test_a_flat_patch_shows_no_shift(sensors):
    low, valid, observed = patch_of(*sensors)
    rng = np.random.default_rng(0)
    assert measure_shift(0.3 + 1e-3 * rng.standard_normal(low.shape), valid, observed, 4).error_px > 0.1


def test_gain_and_offset_are_found_on_the_observed_hr_whatever_has_changed(sensors):
    low, valid, observed = patch_of(*sensors)
    values, _ = observed.at(np.array(SHIFT))
    low = low.copy()
    low[:, :10, :20] = 0.6
    for line in harmonise(low, values, valid):
        assert line.gain == pytest.approx(GAIN, rel=0.02)
        assert line.offset == pytest.approx(OFFSET, abs=0.002)


def test_noise_of_lr_is_not_taken_for_contrast(sensors):
    low, valid, observed = patch_of(*sensors)
    values, _ = observed.at(np.array(SHIFT))
    rng = np.random.default_rng(0)
    noisy = low + 0.5 * low.std(axis=(1, 2), keepdims=True) * rng.standard_normal(low.shape)
    for line in harmonise(noisy, values, valid):
        assert line.gain == pytest.approx(GAIN, rel=0.06)


def test_an_aligned_patch_is_kept_and_others_are_left_out_for_their_reason(sensors):
    low, valid, observed = patch_of(*sensors)
    rules = Screening()
    assert examine(low, valid, observed, rules, SHIFT).reason is None
    assert examine(low, valid, observed, rules).reason == "residual shift"
    half = valid.copy()
    half[:24] = False
    assert examine(low, half, observed, rules, SHIFT).reason == "masked"
    changed = low.copy()
    changed[:, 10:20, 10:20] *= 1.6
    assert examine(changed, valid, observed, Screening(min_correlation=0.1), SHIFT).reason == "change"
    rng = np.random.default_rng(0)
    noisy = low + 2 * low.std() * rng.standard_normal(low.shape)
    assert examine(noisy, valid, observed, rules, SHIFT).reason in ("correlation", "shift unknown")
    elsewhere, _, _ = patch_of(sensors[0][:, ::-1, ::-1], sensors[1])
    assert examine(elsewhere, valid, observed, rules, SHIFT).reason is not None


def test_the_surface_follows_the_shifts_and_outvotes_wrong_peaks():
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(8) * 64.0 + 32, np.arange(8) * 64.0 + 32), axis=-1).reshape(-1, 2)
    truth = np.stack([0.3 + 1e-3 * places[:, 0], -0.5 + 2e-6 * places[:, 1] ** 2], axis=1)
    shifts = truth + 0.02 * rng.standard_normal(truth.shape)
    shifts[::7] += rng.uniform(-3, 3, shifts[::7].shape)
    surface = fit_surface(places, shifts, [0.02] * len(places), 2)
    assert surface is not None
    np.testing.assert_allclose(np.stack(surface.at(places[:, 0], places[:, 1]), axis=1), truth, atol=0.05)
    assert 7 <= surface.outliers <= 14
    assert surface.patches + surface.outliers == len(places)


def test_few_patches_make_a_simple_surface_and_none_make_none():
    surface = fit_surface(np.array([[10.0, 10], [50, 50]]), np.array([[0.2, 0.1], [0.4, 0.1]]), [0.02, 0.02], 3)
    assert surface is not None
    assert surface.order == 0
    down, across = surface.at(np.array([500.0]), np.array([-3.0]))
    assert (down[0], across[0]) == pytest.approx((0.3, 0.1), abs=0.11)
    assert fit_surface(np.zeros((0, 2)), np.zeros((0, 2)), [], 2) is None


def view_of(path) -> PairView:
    scene = catalog.open_scene(SceneRequest(str(path)))
    return PairView(scene, tuple(range(len(scene.bands))), None)


def constant(shift: tuple[float, float]) -> ShiftSurface:
    return ShiftSurface(0, (shift[0],), (shift[1],), (0, 1, 0, 1), 1, 0, 0.0)


def test_hr_on_its_own_grid_is_read_as_it_is(tmp_path, sensors):
    write_pair(tmp_path, *sensors)
    grid = view_of(tmp_path / "lr.tif").scene.geobox
    pixels, valid = hr_on_lr_grid(view_of(tmp_path / "hr.tif"), grid, Window(10, 20, 8, 6), SCALE)
    with rasterio.open(tmp_path / "hr.tif") as raster:
        expected = raster.read(window=Window(40, 80, 32, 24)) / 10000
    assert valid.all()
    np.testing.assert_allclose(pixels, expected, atol=1e-9)


def test_the_shift_is_folded_into_the_only_resampling(tmp_path, sensors):
    lr, hr = sensors
    smooth = moved(hr, (0, 0))
    write_pair(tmp_path, lr, smooth)
    view = view_of(tmp_path / "hr.tif")
    grid = view_of(tmp_path / "lr.tif").scene.geobox
    # A shift of whole HR pixels is another window, and nothing is interpolated.
    pixels, _ = hr_on_lr_grid(view, grid, Window(10, 20, 8, 6), SCALE, constant((0.25, -0.5)))
    expected, _ = hr_on_lr_grid(view, grid, Window(9, 20, 10, 8), SCALE)
    np.testing.assert_allclose(pixels, expected[:, 1:25, 2:34], atol=1e-9)


def test_pixels_do_not_depend_on_the_window(tmp_path, sensors):
    write_pair(tmp_path, *sensors)
    grid = view_of(tmp_path / "lr.tif").scene.geobox
    view, surface = view_of(tmp_path / "hr.tif"), constant((0.3, 0.1))
    whole, _ = hr_on_lr_grid(view, grid, Window(10, 10, 40, 40), SCALE, surface)
    part, _ = hr_on_lr_grid(view, grid, Window(20, 30, 8, 8), SCALE, surface)
    np.testing.assert_array_equal(part, whole[:, 80:112, 40:72])


def test_finer_hr_is_averaged_over_the_pixels_area(tmp_path, sensors):
    write_pair(tmp_path, *sensors)
    grid = view_of(tmp_path / "lr.tif").scene.geobox
    pixels, valid = hr_on_lr_grid(view_of(tmp_path / "hr.tif"), grid, Window(10, 20, 8, 6), 2)
    with rasterio.open(tmp_path / "hr.tif") as raster:
        fine = raster.read(window=Window(40, 80, 32, 24)) / 10000
    blocks = fine.reshape(4, 12, 2, 16, 2).mean(axis=(2, 4))
    assert valid.all()
    np.testing.assert_allclose(pixels, blocks, atol=1e-9)


def test_holes_and_saturation_are_not_measured(tmp_path, sensors):
    lr, hr = sensors
    write_pair(tmp_path, lr, hr)
    with rasterio.open(tmp_path / "hr.tif", "r+") as raster:
        pixels = raster.read()
        pixels[0, 100, 120], pixels[2, 90, 110] = 0, 65535
        raster.write(pixels)
    grid = view_of(tmp_path / "lr.tif").scene.geobox
    found, valid = hr_on_lr_grid(view_of(tmp_path / "hr.tif"), grid, Window(20, 20, 20, 20), SCALE)
    assert np.argwhere(~valid).tolist() == [[90 - 80, 110 - 80], [100 - 80, 120 - 80]]
    assert np.isfinite(found).all()


def test_hr_is_paired_with_the_lr_nearest_in_time(tmp_path, sensors):
    write_pair(tmp_path, *sensors)
    imagery = Imagery(sources=("lr.tif",), datetime="2023-08-10")
    config = PairsConfig(name="x", bands=("B04",), lr=imagery, hr=Imagery(sources=("hr.tif",), datetime="2023-08-13"))
    (match,) = find_matches(config, tmp_path)
    assert match.days == pytest.approx(3)
    assert match.lr.scene.names[match.lr.order[0]] == "B04"
    with pytest.raises(PairsError, match=r"within 1\.0 days"):
        find_matches(config.model_copy(update={"max_days": 1.0}), tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"frobnicate": 3}, "frobnicate"),
        ({"scale": 1}, "scale"),
        ({"lr": {}}, "sources, or a search"),
        ({"mtf_nyquist": [0.3]}, "one number for each"),
        ({"bands": ["B04", "B04", "B02", "B08"]}, "twice"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, changes, what):
    with pytest.raises(PairsError, match=what):
        read_config(write_config(tmp_path / "x.yaml", **changes))


def test_the_shipped_configuration_is_valid_and_names_sentinel2s_blur():
    config = read_config(REPOSITORY / "configs" / "pairs_south_africa.yaml")
    assert config.transfers == (0.24, 0.28, 0.26)
    assert sensor_sigmas(config.transfers, config.scale)[0] == pytest.approx(2.15, abs=0.01)
