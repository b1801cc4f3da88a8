"""The Python interface: the same pixels as the command, the right coordinates, lazy where the input is."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr

import geosr
from catalog import SceneRequest, SourceError
from geosr.errors import ModelError, UsageError
from geosr.pipeline import UpscaleRequest, super_resolve
from tests.conftest import RGBN, SAMPLE, read_raster, write_raster


@pytest.fixture
def crop(tmp_path, sample):
    """A crop of the sample as a file without scale."""
    return write_raster(tmp_path / "in.tif", sample[:, :60, :80], nodata=0)


def opened(path, **options) -> xr.DataArray:
    return rioxarray.open_rasterio(path, **options)


@pytest.mark.parametrize("model", ["rgbn-x4", "backprojection"])
def test_the_same_pixels_as_the_command(tmp_path, crop, model):
    super_resolve(UpscaleRequest(SceneRequest(str(crop)), tmp_path / "out.tif", model=model))
    assert (geosr.upscale(opened(crop), model).values == read_raster(tmp_path / "out.tif")).all()


def test_grid_and_attributes(crop):
    low = opened(crop)
    high = geosr.upscale(low, "bicubic")
    assert high.dims == ("band", "y", "x")
    assert high.shape == (4, 240, 320)
    assert high.dtype == low.dtype
    assert high.rio.crs == low.rio.crs
    assert high.rio.bounds() == low.rio.bounds()
    assert high.rio.resolution() == (2.5, -2.5)
    assert float(high.x[0]) == float(low.x[0]) - 5 + 1.25
    assert float(high.y[0]) == float(low.y[0]) + 5 - 1.25
    assert high.attrs["long_name"] == RGBN
    assert high.band.values.tolist() == [1, 2, 3, 4]
    assert high.rio.nodata == 0


def test_the_result_can_be_written_and_read(tmp_path, crop):
    geosr.upscale(opened(crop), "bicubic").rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(crop) as low, rasterio.open(tmp_path / "out.tif") as high:
        assert high.bounds == low.bounds
        assert high.crs == low.crs
        assert high.nodata == low.nodata
        assert high.descriptions == low.descriptions


def test_lazy_arrays_stay_lazy_and_give_the_same(crop):
    lazy = opened(crop, chunks={"x": 33, "y": 21})
    high = geosr.upscale(lazy, core_px=32)
    assert isinstance(high.data, dask.array.Array)
    assert (high.compute().values == geosr.upscale(opened(crop), core_px=32).values).all()
    # A part of the result needs a part of the chunks.
    part = high[:, :64, :64]
    assert len(dask.optimize(part)[0].__dask_graph__()) < len(dask.optimize(high)[0].__dask_graph__())


def test_nothing_is_read_before_it_is_needed(crop):
    def fail(block):
        raise AssertionError("read")

    low = opened(crop, chunks=True)
    poisoned = low.copy(data=low.data.map_blocks(fail, dtype=low.dtype, meta=np.empty((0, 0, 0), low.dtype)))
    high = geosr.upscale(poisoned, "bicubic")
    with pytest.raises(AssertionError, match="read"):
        high.compute()


def test_dates_are_done_one_by_one(crop):
    one = opened(crop)[:, :20, :20]
    series = xr.concat(
        [one, one + one.dtype.type(100)], xr.Variable("time", np.array(["2024-06-01", "2024-06-11"], "M8[ns]"))
    )
    high = geosr.upscale(series, "backprojection")
    assert high.dims == ("time", "band", "y", "x")
    assert (high.time == series.time).all()
    assert (high[0].values == geosr.upscale(one, "backprojection").values).all()
    lazy = geosr.upscale(series.chunk(x=10), "backprojection")
    assert (lazy.compute().values == high.values).all()


def test_a_single_band(crop):
    band = opened(crop)[3, :20, :30]
    high = geosr.upscale(band, "bicubic")
    assert high.dims == ("y", "x")
    assert high.shape == (80, 120)


def test_bands_are_found_by_coordinate_long_name_or_argument(crop):
    low = opened(crop)[:, :24, :24]
    expected = geosr.upscale(low).values
    named = low.assign_coords(band=list(RGBN))
    named.attrs.pop("long_name")
    assert (geosr.upscale(named).values == expected).all()
    bare = low.copy()
    bare.attrs.pop("long_name")
    assert (geosr.upscale(bare, bands=["blue", "green", "red", "nir"]).values == expected).all()
    with pytest.raises(ModelError, match="B02"):
        geosr.upscale(bare)
    with pytest.raises(UsageError, match="names 2 bands"):
        geosr.upscale(bare, bands=["B02", "B03"])


def test_order_and_choice_of_bands(crop):
    low = opened(crop)[:, :24, :24].assign_coords(band=list(RGBN))
    expected = geosr.upscale(low)
    extra = xr.concat([low.isel(band=[3, 1, 0, 2]), low.isel(band=[0]).assign_coords(band=["B11"])], "band")
    high = geosr.upscale(extra)
    assert high.band.values.tolist() == ["B08", "B03", "B02", "B04"]
    assert (high.sel(band=list(RGBN)).values == expected.values).all()


def test_masked_floats(crop):
    """What rioxarray gives with ``masked=True``: floats in DN with NaN, or in reflectance."""
    low = opened(crop, masked=True)[:, :30, :30].copy()
    low[:, 10, 12] = np.nan
    with pytest.raises(SourceError, match="scale"):
        geosr.upscale(low)
    high = geosr.upscale(low, scale=0.0001)
    assert high.dtype == low.dtype
    expected = np.zeros((4, 120, 120), bool)
    expected[:, 40:44, 48:52] = True
    assert (np.isnan(high.values) == expected).all()
    reflectance = geosr.upscale(low / 10000)
    np.testing.assert_allclose(reflectance.values * 10000, high.values, atol=0.02)


@pytest.mark.parametrize("how", [{"masked": True}, {"mask_and_scale": True}])
@pytest.mark.parametrize("lazy", [False, True])
def test_masked_floats_are_written_as_the_integers_they_were(tmp_path, sample, how, lazy):
    """Dark ground beside a bright edge undershoots zero: in the file it must neither wrap around nor become nodata."""
    pixels = sample[:, :30, :30].copy()
    pixels[:] = np.where(np.arange(30) // 5 % 2, 9000, 3)
    pixels[:, 3, 3] = 0
    source = write_raster(tmp_path / "in.tif", pixels, nodata=0, scale=1e-4, offset=0.0)
    low = opened(source, **how, **({"chunks": True} if lazy else {}))
    geosr.upscale(low, "backprojection").rio.to_raster(tmp_path / "floats.tif")
    geosr.upscale(opened(source), "backprojection").rio.to_raster(tmp_path / "integers.tif")
    floats, integers = read_raster(tmp_path / "floats.tif"), read_raster(tmp_path / "integers.tif")
    assert floats.dtype == np.uint16
    assert integers.min(initial=9, where=integers > 0) == 1, "the sample does not undershoot"
    assert ((floats == 0) == (integers == 0)).all()
    assert np.abs(floats.astype(int) - integers).max() <= 1


def test_scale_and_offset_in_the_attributes_hold(crop):
    low = opened(crop)[:, :24, :24]
    shifted = (low + low.dtype.type(1000)).assign_attrs({**low.attrs, "scale_factor": 1e-4, "add_offset": -0.1})
    difference = geosr.upscale(shifted).values.astype(int) - 1000 - geosr.upscale(low).values.astype(int)
    assert np.abs(difference).max() <= 1


def test_the_accessor(crop):
    low = opened(crop)[:, :16, :16]
    assert (low.geosr.upscale("bicubic").values == geosr.upscale(low, "bicubic").values).all()


def test_arrays_without_a_place(sample):
    bare = xr.DataArray(sample[:, :16, :16], dims=("band", "y", "x"), coords={"band": list(RGBN)})
    assert geosr.upscale(bare).shape == (4, 64, 64)


def test_arrays_that_ascend(crop):
    """South-up arrays, as many NetCDF files are."""
    low = opened(crop)[:, :24, :24]
    flipped = low.isel(y=slice(None, None, -1))
    high = geosr.upscale(flipped, "bicubic")
    assert float(high.y[0]) < float(high.y[-1])
    assert (high.isel(y=slice(None, None, -1)).values == geosr.upscale(low, "bicubic").values).all()


def test_arrays_that_make_no_sense(sample):
    with pytest.raises(UsageError, match="no pixels"):
        geosr.upscale(xr.DataArray(np.zeros((4, 0, 5), np.uint16), dims=("band", "y", "x")))


def test_the_module_loads_lazily():
    assert geosr.upscale.__module__ == "geosr.api"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = geosr.nonsense


def test_the_sample_opens_with_its_scale():
    low = opened(SAMPLE)[:, :16, :16]
    assert geosr.upscale(low, "bicubic").shape == (4, 64, 64)
