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
from catalog import SceneRequest
from geosr.errors import ModelError, UsageError
from geosr.run.pipeline import super_resolve
from tests.conftest import RGBN, SAMPLE, read_raster
from tests.small_model import write_small_model
from tests.upscaling import upscale_request


def opened(path, **options) -> xr.DataArray:
    return rioxarray.open_rasterio(path, **options)


@pytest.mark.parametrize("model", ["rgbn-x4", "backprojection"])
def test_the_same_pixels_as_the_command(tmp_path, crop, model):
    super_resolve(upscale_request(SceneRequest(str(crop)), tmp_path / "out.tif", model=model))
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


@pytest.mark.slow
def test_lazy_arrays_stay_lazy_and_give_the_same(tmp_path, crop):
    lazy = opened(crop, chunks={"x": 33, "y": 21})
    # Cores that divide the array: a network is made ready for one shape.
    model = str(write_small_model(tmp_path))
    high = geosr.upscale(lazy, model, core_px=20)
    assert isinstance(high.data, dask.array.Array)
    assert (high.compute().values == geosr.upscale(opened(crop), model, core_px=20).values).all()
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


def test_the_accessor(crop):
    low = opened(crop)[:, :16, :16]
    assert (low.geosr.upscale("bicubic").values == geosr.upscale(low, "bicubic").values).all()


def test_bands_of_one_name(crop):
    low = opened(crop)[:, :16, :16]
    expected = geosr.upscale(low, "bicubic").values
    assert (geosr.upscale(low, "bicubic", bands=["B02", "blue", "B03", "B04"]).values == expected).all()
    five = xr.concat([low, low[:1]], "band")
    with pytest.raises(ModelError, match="B02 more than once"):
        geosr.upscale(five, bands=[*RGBN, "blue"])


def test_the_module_loads_lazily():
    assert geosr.upscale.__module__ == "geosr.arrays.upscale"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = geosr.nonsense


def test_the_sample_opens_with_its_scale():
    low = opened(SAMPLE)[:, :16, :16]
    assert geosr.upscale(low, "bicubic").shape == (4, 64, 64)
