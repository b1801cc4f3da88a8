"""The Python interface: the same pixels as the command, the right coordinates, lazy where the input is."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.transform import Affine

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


def test_scales_and_offsets_that_differ_between_bands_hold(crop):
    low = opened(crop)[:, :24, :24]
    expected = geosr.upscale(low).values.astype(int)
    attrs = {name: low.attrs[name] for name in ("long_name", "_FillValue")}
    scales = {"scales": (1e-4, 5e-5, 1e-4, 1e-4), "offsets": (-0.1, 0.0, 0.0, 0.0)}
    stored = low.copy()
    stored[0] += 1000
    stored[1] *= 2
    stored.attrs = {**attrs, **scales}
    difference = geosr.upscale(stored).values.astype(int) - [[[1000]], [[0]], [[0]], [[0]]]
    difference[1] = np.rint(difference[1] / 2)
    assert np.abs(difference - expected).max() <= 1


def test_scales_of_other_bands_are_refused(crop):
    low = opened(crop)[:, :16, :16]
    low.attrs["scales"] = (1e-4, 1e-4, 1e-4, 1e-4, 1e-3)
    with pytest.raises(UsageError, match="scales is for 5 bands, and there are 4: give scale"):
        geosr.upscale(low)
    assert "scales" not in geosr.upscale(low, scale=1e-4).attrs


def test_attributes_of_bands_are_those_of_the_result(tmp_path, sample):
    pixels = np.stack([sample[i, :24, :24] for i in (0, 3, 1, 2, 3)])
    source = write_raster(tmp_path / "in.tif", pixels, names=("B02", "B11", "B03", "B04", "B08"), nodata=0)
    with rasterio.open(source, "r+") as raster:
        raster.scales = (1e-4, 1e-3, 1e-4, 1e-4, 1e-4)
        raster.update_tags(1, STATISTICS_MAXIMUM=1, STATISTICS_VALID_PERCENT=100)
    high = geosr.upscale(opened(source))
    assert high.attrs["long_name"] == RGBN
    assert high.attrs["scales"] == (1e-4,) * 4
    assert not [name for name in high.attrs if name.startswith("STATISTICS")]
    high.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.descriptions == RGBN
        assert raster.scales == (1e-4,) * 4


def test_one_image_has_no_names_of_bands(tmp_path, crop):
    high = geosr.upscale(opened(crop)[3, :16, :16], "bicubic")
    assert "long_name" not in high.attrs
    high.rio.to_raster(tmp_path / "out.tif")


@pytest.mark.parametrize("lazy", [False, True])
def test_values_changed_in_place_are_not_stored_in_steps_of_before(tmp_path, crop, lazy):
    """Reflectance made of masked DN: as the file's integers, all of it would be 1."""
    low = opened(crop, masked=True, **({"chunks": True} if lazy else {}))[:, :24, :24]
    expected = geosr.upscale(low, "bicubic", scale=1e-4).values * 1e-4
    changed = low.copy(data=low.data * 1e-4)
    assert changed.encoding["dtype"] == "uint16"
    changed.attrs.pop("scale_factor")
    high = geosr.upscale(changed, "bicubic")
    assert not {"dtype", "rasterio_dtype", "scale_factor", "add_offset", "_FillValue"} & set(high.encoding)
    high.rio.to_raster(tmp_path / "out.tif")
    written = read_raster(tmp_path / "out.tif")
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, expected, atol=2e-6)


def test_scaled_values_back_in_dn_keep_their_range(tmp_path, crop):
    """Stored in the steps of reflectance, DN would all be the type's greatest value."""
    low = opened(write_raster(tmp_path / "in.tif", opened(crop).values, nodata=0, scale=1e-4), mask_and_scale=True)
    low *= 1e4
    high = geosr.upscale(low, "bicubic", scale=1e-4)
    assert "dtype" not in high.encoding
    np.testing.assert_allclose(high.values.mean(), low.values.mean(), rtol=0.01)


def test_values_scaled_twice_are_refused(tmp_path, crop):
    low = opened(write_raster(tmp_path / "in.tif", opened(crop).values, nodata=0, scale=1e-4), masked=True)
    low *= low.attrs["scale_factor"]
    with pytest.raises(UsageError, match="reflectance already, say scale=1"):
        geosr.upscale(low)
    np.testing.assert_allclose(geosr.upscale(low, "bicubic", scale=1).mean(), low.mean(), rtol=0.01)


def test_nodata_of_the_argument_is_declared(tmp_path, crop):
    low = opened(crop)[:, :16, :16].copy()
    low[:, 2, 3] = 777
    high = geosr.upscale(low, "bicubic", nodata=777)
    assert high.rio.nodata == 777
    holes = np.zeros((64, 64), bool)
    holes[8:12, 12:16] = True
    assert ((high.values == 777) == holes).all()
    high.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.nodata == 777
    with pytest.raises(UsageError, match="nodata -1 is no value of uint16"):
        geosr.upscale(low, nodata=-1)


def test_nodata_of_the_argument_is_declared_in_the_storage_of_floats(tmp_path, crop):
    pixels = opened(crop).values[:, :16, :16]
    # On a slope through 777, results round to it: they must not become nodata in the file.
    pixels[:] = np.arange(600, 1112, 2).reshape(16, 16)
    pixels[:, 2, 3] = 777
    pixels[:, 9, 1] = 0
    low = opened(write_raster(tmp_path / "in.tif", pixels, nodata=0, scale=1e-4), mask_and_scale=True)
    high = geosr.upscale(low, "bicubic", nodata=float(low[0, 2, 3]))
    assert high.encoding["_FillValue"] == 777
    high.rio.to_raster(tmp_path / "out.tif")
    holes = np.zeros((64, 64), bool)
    holes[8:12, 12:16] = holes[36:40, 4:8] = True
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.nodata == 777
        assert ((raster.read() == 777) == holes).all()


def test_nodata_that_the_storage_does_not_hold_is_stored_as_float(crop):
    low = opened(crop, masked=True)[:, :16, :16].copy()
    low[:, 2, 3] = -9999
    high = geosr.upscale(low, "bicubic", scale=1e-4, nodata=-9999)
    assert high.rio.nodata == -9999
    assert "dtype" not in high.encoding
    assert (high[:, 8:12, 12:16] == -9999).all()


@pytest.mark.parametrize("name", ["_FillValue", "missing_value", "nodata"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_nodata_in_the_attributes_holds(sample, name, dtype):
    pixels = sample[:, :16, :16].astype(dtype)
    pixels[1, 2, 3] = 5000
    low = xr.DataArray(pixels, dims=("band", "y", "x"), attrs={name: 5000})
    high = geosr.upscale(low, "bicubic", scale=1e-4)
    holes = np.zeros(high.shape, bool)
    holes[1, 8:12, 12:16] = True
    assert ((high.values == 5000) == holes).all()
    assert high.rio.nodata == 5000
    assert high.attrs[name] == 5000


def test_nodata_set_by_rioxarray_holds(sample):
    low = xr.DataArray(sample[:, :16, :16], dims=("band", "y", "x"))
    low[1, 2, 3] = 5000
    low.rio.set_nodata(5000)
    high = geosr.upscale(low, "bicubic")
    assert (high[1, 8:12, 12:16] == 5000).all()
    assert high.rio.nodata == 5000


def test_nodata_that_no_pixel_can_have_changes_nothing(sample):
    low = xr.DataArray(sample[:, :16, :16].copy(), dims=("band", "y", "x"), attrs={"nodata": -9999})
    low[1, 2, 3] = 0
    assert (geosr.upscale(low, "bicubic")[1, 8:12, 12:16] == 0).all()


def test_nan_stays_nan_beside_another_nodata_value(sample):
    """What is left of DN with nodata 0 after ``da.where(da != 0)``."""
    low = xr.DataArray(sample[:, :16, :16] * 1e-4, dims=("band", "y", "x"), attrs={"nodata": 0})
    low[:, 2, 3] = np.nan
    high = geosr.upscale(low, "backprojection")
    assert np.isnan(high[:, 8:12, 12:16]).all()
    assert int(np.isnan(high).sum()) == 4 * 16


@pytest.mark.parametrize(("how", "empty"), [({"masked": True}, 0.0), ({"mask_and_scale": True}, -0.1)])
def test_dn_0_is_no_measurement_in_floats_read_from_integers(tmp_path, crop, how, empty):
    pixels = opened(crop).values[:, :24, :24]
    pixels[:, 2, 3] = 0
    options = {"scale": 1e-4, "offset": -0.1}
    floats = opened(write_raster(tmp_path / "in.tif", pixels, **options), **how)
    integers = geosr.upscale(opened(tmp_path / "in.tif"), "backprojection")
    assert (integers[:, 8:12, 12:16] == 0).all()
    high = geosr.upscale(floats, "backprojection")
    assert ((high.values == np.float32(empty)) == (integers.values == 0)).all()
    high.rio.to_raster(tmp_path / "out.tif")
    assert np.abs(read_raster(tmp_path / "out.tif").astype(int) - integers.values).max() <= 1


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
    turned = high.isel(y=slice(None, None, -1)).values.astype(int)
    # Sums in another order round another way.
    assert np.abs(turned - geosr.upscale(low, "bicubic").values).max() <= 1


def test_arrays_that_make_no_sense(sample):
    with pytest.raises(UsageError, match="no pixels"):
        geosr.upscale(xr.DataArray(np.zeros((4, 0, 5), np.uint16), dims=("band", "y", "x")))


@pytest.mark.parametrize("holder", ["encoding", "attrs"])
def test_a_grid_mapping_of_another_name_is_replaced(tmp_path, crop, holder):
    low = opened(crop)[:, :16, :16].rename(spatial_ref="transverse_mercator")
    low.encoding.pop("grid_mapping")
    getattr(low, holder)["grid_mapping"] = "transverse_mercator"
    high = geosr.upscale(low, "bicubic")
    assert "spatial_ref" not in high.coords
    assert high.encoding["grid_mapping"] == "transverse_mercator"
    assert high.rio.crs == low.rio.crs
    assert high.rio.transform() == high.rio.transform(recalc=True)
    assert high.rio.transform().a == 2.5
    high.rio.to_raster(tmp_path / "out.tif", recalc_transform=False)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.bounds == low.rio.bounds()


def test_a_grid_mapping_that_nothing_names_is_found(crop):
    low = opened(crop)[:, :16, :16].rename(spatial_ref="transverse_mercator")
    low.encoding.pop("grid_mapping")
    high = geosr.upscale(low, "bicubic")
    assert "spatial_ref" not in high.coords
    assert high.rio.crs == opened(crop).rio.crs
    assert high.rio.transform().a == 2.5


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
def test_rotated_grids(tmp_path, sample, crs):
    transform = Affine.translation(359130, 5352340) @ Affine.rotation(30) @ Affine.scale(10, -10)
    source = write_raster(tmp_path / "in.tif", sample[:, :16, :20], crs=crs, transform=transform)
    geosr.upscale(opened(source), "bicubic").rio.to_raster(tmp_path / "out.tif", recalc_transform=False)
    with rasterio.open(source) as low, rasterio.open(tmp_path / "out.tif") as high:
        assert high.crs == low.crs
        assert high.transform.almost_equals(transform @ Affine.scale(0.25), 1e-6)


def test_rows_and_columns_in_another_place_are_refused(crop):
    low = opened(crop)[:, :16, :16]
    with pytest.raises(UsageError, match=r"transpose to \(…, band, y, x\)"):
        geosr.upscale(low.transpose("band", "x", "y"), "bicubic")
    with pytest.raises(UsageError, match="transpose"):
        geosr.upscale(low.transpose("y", "x", "band"), "bicubic")
    with pytest.raises(UsageError, match="transpose"):
        geosr.upscale(low[:, 0], "bicubic")


def test_dates_in_the_place_of_bands_are_refused(crop):
    one = opened(crop)[:, :16, :16]
    series = xr.concat([one, one], xr.Variable("time", np.array(["2024-06-01", "2024-06-11"], "M8[ns]")))
    with pytest.raises(UsageError, match=r"transpose to \(…, band, y, x\)"):
        geosr.upscale(series.transpose("band", "time", "y", "x"), "bicubic")
    with pytest.raises(UsageError, match="holds dates"):
        geosr.upscale(series[:, 0], "bicubic")


def test_coordinates_with_a_gap_are_refused(crop):
    low = opened(crop)[:, :16, :16]
    with pytest.raises(UsageError, match="y is not evenly spaced"):
        geosr.upscale(low.isel(y=[0, 1, 2, 10, 11, 12]), "bicubic")
    bent = low.x.values + np.where(np.arange(16) == 7, 0.2, 0.0)
    with pytest.raises(UsageError, match="x is not evenly spaced"):
        geosr.upscale(low.assign_coords(x=bent), "bicubic")
    rounded = low.assign_coords(x=low.x.values + np.where(np.arange(16) == 7, 0.05, 0.0))
    assert geosr.upscale(rounded, "bicubic").rio.bounds() == low.rio.bounds()


def test_every_second_pixel_is_a_grid(crop):
    high = geosr.upscale(opened(crop)[:, :16:2, :16:2], "bicubic")
    assert high.rio.resolution() == (5.0, -5.0)


def test_coordinates_in_single_precision(sample):
    """Their first two are too inexact to continue the grid from."""
    x, y = 100 + 1e-4 * np.arange(300), 30 - 1e-4 * np.arange(300)
    low = xr.DataArray(
        sample[:1, :, :300],
        dims=("band", "lat", "lon"),
        coords={"lat": y.astype("float32"), "lon": x.astype("float32")},
    )
    high = geosr.upscale(low, "bicubic")
    assert abs(float(high.lon[-1]) - (x[-1] + 0.375e-4)) < 1e-5
    assert abs(float(high.lat[0]) - (y[0] + 0.375e-4)) < 1e-5


def test_a_place_without_a_grid_is_refused(crop):
    low = opened(crop)[:, :16, :16]
    row = low[:, :1]
    assert geosr.upscale(row, "bicubic").rio.bounds() == row.rio.bounds()
    unknown = row.copy()
    unknown["spatial_ref"] = unknown.spatial_ref.assign_attrs(GeoTransform="")
    with pytest.raises(UsageError, match="no regular grid"):
        geosr.upscale(unknown, "bicubic")
    with pytest.raises(UsageError, match="no regular grid"):
        geosr.upscale(row.drop_vars("spatial_ref"), "bicubic")
    with pytest.raises(UsageError, match="no regular grid"):
        geosr.upscale(unknown.drop_vars(["y", "x"]), "bicubic")
    elsewhere = low.drop_vars(["y", "x"]).rename(y="rows", x="columns")
    with pytest.raises(UsageError, match="no regular grid"):
        geosr.upscale(elsewhere, "bicubic")
    assert geosr.upscale(elsewhere.drop_vars("spatial_ref"), "bicubic").shape == (4, 64, 64)


def test_bands_of_one_name(crop):
    low = opened(crop)[:, :16, :16]
    expected = geosr.upscale(low, "bicubic").values
    assert (geosr.upscale(low, "bicubic", bands=["B02", "blue", "B03", "B04"]).values == expected).all()
    five = xr.concat([low, low[:1]], "band")
    with pytest.raises(ModelError, match="B02 more than once"):
        geosr.upscale(five, bands=[*RGBN, "blue"])


def test_the_module_loads_lazily():
    assert geosr.upscale.__module__ == "geosr.api"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = geosr.nonsense


def test_the_sample_opens_with_its_scale():
    low = opened(SAMPLE)[:, :16, :16]
    assert geosr.upscale(low, "bicubic").shape == (4, 64, 64)
