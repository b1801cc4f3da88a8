"""Pixels of a band that is missing where others are measured: no seams, no warnings, and nothing from far away."""

from __future__ import annotations

import numpy as np
import pytest

from catalog import SceneRequest
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster, write_raster
from tests.upscaling import upscale_request


def upscaled(path, output, *, core_px, model):
    super_resolve(upscale_request(SceneRequest(str(path)), output, model=model, device="cpu", core_px=core_px))
    return read_raster(output).astype(int)


@pytest.mark.slow
def test_a_band_that_is_missing_over_a_wide_part_leaves_no_seams(tmp_path, sample):
    from geosr.model.zoo import DEFAULT_MODEL

    pixels = sample[:, :50, :200].copy()
    pixels[3, :, :110] = 0
    path = write_raster(tmp_path / "in.tif", pixels, nodata=0)
    whole = upscaled(path, tmp_path / "whole.tif", core_px=256, model=DEFAULT_MODEL)
    chunked = upscaled(path, tmp_path / "chunked.tif", core_px=50, model=DEFAULT_MODEL)
    assert (whole[3, :, : 4 * 110] == 0).all()
    assert (whole[:3] > 0).all()
    assert np.abs(whole - chunked).max() <= 1


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_nodata_beyond_32_bits_is_quiet(tmp_path, sample):
    lowest = float(np.finfo(np.float64).min)
    pixels = sample[:, :20, :24].astype(np.float64) / 10000
    pixels[:, 5, 7] = lowest
    path = write_raster(tmp_path / "in.tif", pixels, nodata=lowest)
    result = tmp_path / "out.tif"
    super_resolve(upscale_request(SceneRequest(str(path)), result, model="bicubic", device="cpu"))
    high = read_raster(result)
    assert (high[:, 20:24, 28:32] == lowest).all()
    assert (high == lowest).sum() == 4 * 16
