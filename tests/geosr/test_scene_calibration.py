"""Scene calibration: harder scenes get wider intervals, the same ones through every way in."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import torch
import xarray as xr
from rasterio.windows import Window

import geosr
from catalog.arrays import band_specs
from geosr.engine import choose_engine
from geosr.evaluate.contenders import contender, open_model, sensor_of, transfers_of
from geosr.inference.scene_calibration import calibrate, calibration_windows, scene_factors
from geosr.inference.upscaler import ModelSpec, upscaler_of
from geosr.model.build import build
from geosr.model.card import Calibration, ModelCard
from geosr.model.scene_calibration import calibration_ratios
from geosr.model.zoo import DEFAULT_MODEL, ModelRef, read_card
from geosr.run.pipeline import super_resolve
from tests.conftest import RGBN, SAMPLE, read_raster, write_raster
from tests.geosr.calibrated_model import request

CALIBRATION = Calibration(level=0.9, factors=(1.0,), scene_exponent=0.5)


@pytest.mark.parametrize("sides", [(32, 32), (33, 500), (192, 192), (300, 300), (641, 5000), (10980, 10980)])
def test_squares_lie_inside_and_are_few(sides):
    area = Window(70, 30, sides[1], sides[0])
    windows = calibration_windows(area, 4, CALIBRATION)
    assert 1 <= len(windows) <= 16
    for one in windows:
        assert one.height % 4 == one.width % 4 == 0
        assert min(one.height, one.width) >= 32
        assert one.col_off >= 70
        assert one.row_off >= 30
        assert one.col_off + one.width <= 70 + sides[1]
        assert one.row_off + one.height <= 30 + sides[0]


def test_what_is_too_small_or_not_asked_for_is_not_calibrated():
    assert calibration_windows(Window(0, 0, 500, 31), 4, CALIBRATION) == []
    never = CALIBRATION.model_copy(update={"scene_exponent": 0})
    assert calibration_windows(Window(0, 0, 500, 500), 4, never) == []


def test_factors_are_the_quantile_to_the_exponent_within_bounds():
    ratios = np.linspace(0, 1, 10_001, dtype=np.float32)
    given = [ratios, 2 * ratios, 100 * ratios, 0.001 * ratios, 2 * ratios[:100]]
    assert scene_factors(given, 0.9, 0.5) == pytest.approx((0.9**0.5, 1.8**0.5, 2.0, 0.5, 1.0))


def test_an_error_is_measured_in_half_widths_without_their_calibration():
    """The model makes a ramp from itself almost without error, and noise not at all."""
    card = read_card(DEFAULT_MODEL)
    model = build(card, [None] * 4)
    reference = torch.tensor(card.reference_reflectance).reshape(-1, 1, 1)
    torch.manual_seed(0)
    ramp = torch.linspace(0.2, 0.8, 64).expand(4, 64, 64) / reference
    noise = (0.3 + 0.05 * torch.randn(4, 64, 64)) / reference
    with torch.inference_mode():
        easy, hard = (calibration_ratios(model, lr, reference, card.halo_px) for lr in (ramp, noise))
        model.set_width_factors([10.0])
        again = calibration_ratios(model, noise, reference, card.halo_px)
    assert easy.shape == (4, 64, 64)
    assert hard.quantile(0.9) > 1.2 * easy.quantile(0.9)
    torch.testing.assert_close(again, hard)


@pytest.mark.slow
def test_the_command_the_array_and_the_evaluation_agree(tmp_path):
    """Over chunks of any size, lazily or not; and the layer says what its widths were multiplied by."""
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, :64, :64]
    source = write_raster(tmp_path / "in.tif", pixels, nodata=0, scale=1e-4)
    widths = {}
    # Chunks of one shape: the network is made ready for each.
    for core in (32, 256):
        super_resolve(request(source, DEFAULT_MODEL, core_px=core, overwrite=True))
        widths[core] = read_raster(tmp_path / "out_uncertainty.tif").astype(int)
    assert np.abs(widths[32] - widths[256]).max() <= 1
    with rasterio.open(tmp_path / "out_uncertainty.tif") as layer:
        said = layer.tags()["GEOSR_UNCERTAINTY_SCENE"].split(":")[1].split(",")
    with rasterio.open(tmp_path / "out.tif") as image:
        assert "GEOSR_UNCERTAINTY_SCENE" not in image.tags()
    told = {band: float(factor) for band, factor in (one.split() for one in said)}
    assert list(told) == list(RGBN)
    # A path that left the factors out would be seen below.
    assert max(abs(factor - 1) for factor in told.values()) > 0.03

    da = rioxarray.open_rasterio(source)
    now = geosr.upscale(da, scale=1e-4, uncertainty=True).half_width
    later = geosr.upscale(da.chunk({"x": 32}), scale=1e-4, uncertainty=True).half_width
    assert isinstance(later.data, dask.array.Array)
    np.testing.assert_allclose(later.values, now.values, rtol=1e-4)
    assert np.abs(np.ceil(now.values) - widths[256]).max() <= 1

    opened = open_model(DEFAULT_MODEL)
    bands = opened.card.bands
    subject = contender(opened, bands, sensor_of(bands, transfers_of(bands, opened.card)))
    seen = subject.run(torch.from_numpy(pixels * np.float32(1e-4))).half_width.numpy()
    np.testing.assert_allclose(seen * 1e4, now.values, rtol=2e-3, atol=0.5)


def test_an_area_too_small_is_left_as_calibrated(tmp_path):
    with rasterio.open(SAMPLE) as raster:
        source = write_raster(tmp_path / "in.tif", raster.read()[:, :20, :60], nodata=0, scale=1e-4)
    super_resolve(request(source, DEFAULT_MODEL))
    with rasterio.open(tmp_path / "out_uncertainty.tif") as layer:
        assert "GEOSR_UNCERTAINTY_SCENE" not in layer.tags()


@pytest.mark.slow
def test_bands_in_another_order_have_the_same_half_widths(tmp_path):
    """The factors are the model's, band by band."""
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, :36, :36]
    widths = []
    for order in ([0, 1, 2, 3], [2, 1, 0, 3]):
        names = [RGBN[i] for i in order]
        source = write_raster(tmp_path / "in.tif", pixels[order], names=names, nodata=0, scale=1e-4)
        super_resolve(request(source, DEFAULT_MODEL, core_px=18, overwrite=True))
        widths.append(read_raster(tmp_path / "out_uncertainty.tif")[np.argsort(order)])
    assert (widths[0] == widths[1]).all()


def test_a_part_of_a_scene_is_calibrated_where_it_lies(sample):
    """A crop of the extent is a scene of its own: its factors do not depend on what lies around it."""
    whole = calibration_windows(Window(0, 0, 64, 64), 4, CALIBRATION)
    part = calibration_windows(Window(100, 50, 64, 64), 4, CALIBRATION)
    assert [(one.col_off + 100, one.row_off + 50) for one in whole] == [(one.col_off, one.row_off) for one in part]


def test_numbers_far_off_in_one_place_do_not_become_the_whole_scenes(sample):
    """Numbers far out of range in one place leave the half-widths of all others what they are."""
    names = list(RGBN)
    floats = sample[:, :72, :72].astype(np.float32) * 1e-4
    floats[:, 30:34, 30:34] = 2.9  # implausible, but not refused
    da = xr.DataArray(
        floats, dims=("band", "y", "x"), coords={"band": names, "y": -np.arange(72.0), "x": np.arange(72.0)}
    )
    result = geosr.upscale(da, uncertainty=True, nodata=None)
    far = result.half_width.values[:, :8, :8]
    assert np.isfinite(far).all()
    assert (far > 0).all()
    assert scene_factors([np.array([np.nan] * 5 + [1.0] * 2000, np.float32)], 0.9, 0.5) == (1.0,)


def test_what_is_not_measured_says_nothing(sample):
    """A square all of nodata leaves its scene as calibrated."""
    card = read_card(DEFAULT_MODEL)
    empty = np.zeros((4, 64, 64), np.uint16), np.zeros((4, 64, 64), bool)
    specs = band_specs(RGBN, "uint16", scale=1e-4, offset=0, nodata=0)
    spec = ModelSpec.of(ModelRef(), choose_engine(precision="float32"), tuple(specs), plain_image=False)
    assert calibrate([empty], upscaler_of(spec), card.calibration).width_factors == (1.0,) * 4


def test_the_exponent_is_part_of_a_models_identity():
    card = read_card(DEFAULT_MODEL)
    other = card.model_copy(update={"calibration": card.calibration.model_copy(update={"scene_exponent": 0.9})})
    assert ModelCard(**other.model_dump()).digest != ModelCard(**card.model_dump()).digest
