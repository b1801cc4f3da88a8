"""``geosr.fuse``: one date of an array, sharpened by its others."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

import geosr
from catalog import SourceError
from geosr.dates.sampling import ShiftedSensor
from geosr.errors import UsageError
from geosr.model.kernels import mtf_to_sigma
from tests.geosr.test_dates import ground

BANDS = ["B02", "B04"]
SIGMAS = [mtf_to_sigma(one, 4) for one in (0.26, 0.24)]
SHIFTS = ((0.0, 0.0), (0.4, -0.3), (-0.2, 0.5))
MODEL = "backprojection"


@pytest.fixture(scope="module")
def series() -> xr.DataArray:
    truth = ground()
    rng = np.random.default_rng(5)
    frames = []
    for shift in SHIFTS:
        lr = ShiftedSensor(SIGMAS, 4, shift).observe(truth)
        frames.append(np.rint((lr + 0.001 * rng.normal(size=lr.shape)) * 10_000))
    pixels = np.stack(frames).astype(np.uint16)
    days = np.array(["2023-07-03", "2023-07-08", "2023-07-13"], "datetime64[ns]")
    rows, cols = pixels.shape[2:]
    return xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={
            "time": days,
            "band": BANDS,
            "y": 5e6 - 10 * np.arange(rows) - 5.0,
            "x": 5e5 + 10 * np.arange(cols) + 5.0,
        },
    )


def rms(image: xr.DataArray) -> float:
    error = image.values / 10_000 - ground()
    return float(np.sqrt(np.mean(error[:, 32:-32, 32:-32] ** 2)))


def test_the_references_image_is_sharpened_by_the_others(series):
    single = geosr.upscale(series.isel(time=0), MODEL)
    fused = geosr.fuse(series, "2023-07-03", MODEL)
    assert rms(fused) < 0.93 * rms(single)
    assert fused.dtype == single.dtype
    xr.testing.assert_equal(fused.coords.to_dataset(), single.coords.to_dataset())
    said = fused.attrs["GEOSR_DATES"].split("; ")
    assert said[0] == "2023-07-03: reference"
    assert said[1].startswith("2023-07-08: shift +0.4")
    assert "weight" in said[2]


def test_any_order_of_dates_makes_the_same_image(series):
    fused = geosr.fuse(series, "2023-07-08", MODEL)
    turned = geosr.fuse(series.isel(time=[2, 1, 0]), "2023-07-08", MODEL)
    assert np.abs(fused.values.astype(int) - turned.values.astype(int)).max() <= 1


def test_chunks_are_the_image_in_one_piece(series):
    whole = geosr.fuse(series, "2023-07-03", MODEL)
    parts = geosr.fuse(series, "2023-07-03", MODEL, core_px=32)
    assert np.abs(whole.values.astype(int) - parts.values.astype(int)).max() <= 1


def test_lazy_arrays_stay_lazy_and_make_the_same(series):
    lazy = geosr.fuse(series.chunk({"time": 1}), "2023-07-03", MODEL, core_px=40)
    assert isinstance(lazy.data, dask.array.Array)
    np.testing.assert_array_equal(lazy.values, geosr.fuse(series, "2023-07-03", MODEL, core_px=40).values)


def test_without_a_usable_date_it_is_the_product_of_one(series):
    clouds = series.copy()
    clouds[1:] = 6000
    single = geosr.upscale(series.isel(time=0), MODEL)
    fused = geosr.fuse(clouds, "2023-07-03", MODEL)
    np.testing.assert_array_equal(fused.values, single.values)
    assert "2023-07-08: not used, no part of it shows the same ground" in fused.attrs["GEOSR_DATES"]
    assert "2023-07-13: not used, its pixels are those of date 1 of the others" in fused.attrs["GEOSR_DATES"]


def test_nodata_is_the_references(series):
    holes = series.copy()
    holes[0, :, 10:14, 20:30] = 0
    holes[1, :, 40:50] = 0
    single = geosr.upscale(holes.isel(time=0), MODEL)
    fused = geosr.fuse(holes, "2023-07-03", MODEL)
    np.testing.assert_array_equal(fused.values == 0, single.values == 0)
    assert rms(fused.where(single != 0, single)) > 0
    assert (fused.values != single.values).mean() > 0.5


def test_reflectance_with_nan_is_fused_as_dn_are(series):
    fused = geosr.fuse(series, "2023-07-03", MODEL)
    values = (series / 10_000).astype("float32")
    values[0, :, :3] = np.nan
    floats = geosr.fuse(values, "2023-07-03", MODEL)
    assert np.isnan(floats.values[:, :12]).all()
    assert not np.isnan(floats.values[:, 12:]).any()
    inner = (slice(None), slice(120, None))
    assert np.abs(floats.values[inner] * 10_000 - fused.values[inner]).max() < 3


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("2023-07-04", "is none of the dates: name one of 2023-07-03, 2023-07-08"),
        ("2023-07", "several"),
        ("x", "no date"),
    ],
)
def test_a_reference_that_is_no_single_date_is_refused(series, reference, message):
    with pytest.raises(UsageError, match=message):
        geosr.fuse(series, reference, MODEL)


def test_what_is_no_series_is_refused(series):
    with pytest.raises(UsageError, match="several dates"):
        geosr.fuse(series.isel(time=0), "2023-07-03", MODEL)
    with pytest.raises(UsageError, match="no calibrated half-widths"):
        geosr.fuse(series, "2023-07-03", MODEL, uncertainty=True)
    with pytest.raises(UsageError, match="several sampling distances"):
        geosr.fuse(series, "2023-07-03", "s2-ten-x4")


def test_a_date_without_a_label_counts_as_any_other(series):
    unlabelled = series.assign_coords(time=np.array(["2023-07-03", "NaT", "2023-07-13"], "datetime64[ns]"))
    fused = geosr.fuse(unlabelled, "2023-07-03", MODEL)
    assert np.abs(fused.values.astype(int) - geosr.fuse(series, "2023-07-03", MODEL).values.astype(int)).max() <= 1
    assert "nan" not in fused.attrs["GEOSR_DATES"]


def test_a_fill_that_nothing_declares_is_refused_in_any_date(series):
    """One pixel of it would be taken for dark ground."""
    filled = series.astype(np.int16)
    filled.values[1, 0, 5, 5] = -9999
    with pytest.raises(SourceError, match=r"has a date in which B02: .* are -9999, .* give nodata=-9999"):
        geosr.fuse(filled, "2023-07-03", MODEL)
    declared = filled.assign_attrs(_FillValue=-9999)
    fused = geosr.fuse(declared, "2023-07-03", MODEL)
    away = np.abs(fused.values.astype(int) - geosr.fuse(series, "2023-07-03", MODEL).values.astype(int))[:, 80:, 80:]
    assert away.max() <= 1
