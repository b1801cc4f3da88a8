"""Storage of arrays: scales, offsets, nodata and masked floats come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr

import geosr
from catalog import CatalogError, SourceError
from geosr.errors import UsageError
from tests.conftest import RGBN, read_raster, write_raster
from tests.geosr.test_api import opened


def test_masked_floats(crop):
    """Take floats in DN with NaN, or in reflectance, as rioxarray gives with ``masked=True``."""
    low = opened(crop, masked=True)[:, :30, :30].copy()
    low[:, 10, 12] = np.nan
    with pytest.raises(SourceError, match="scale"):
        geosr.upscale(low)
    high = geosr.upscale(low, scale=0.0001, precision="float32")
    assert high.dtype == low.dtype
    expected = np.zeros((4, 120, 120), bool)
    expected[:, 40:44, 48:52] = True
    assert (np.isnan(high.values) == expected).all()
    reflectance = geosr.upscale(low / 10000, precision="float32")
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
    with pytest.raises(SourceError, match=r"reflectance already.*give scale=1"):
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
    """Take DN with nodata 0 after ``da.where(da != 0)``."""
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


def array(pixels, **attrs):
    return xr.DataArray(pixels, dims=("band", "y", "x"), coords={"band": list(RGBN)}, attrs=attrs)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "attrs", "advice"),
    [
        (lambda dn: dn.astype(np.float32), {}, "give scale=0.0001"),
        (lambda dn: dn, {"scale_factor": 1e-4, "add_offset": -1000.0}, "give offset=-0.1"),
        (lambda dn: dn / 10000, {"scale_factor": 1e-4}, "give scale=1"),
        (lambda dn: np.where(np.arange(20) < 5, -9999, dn / 10000).astype(np.float32), {}, "give nodata=-9999"),
        (lambda dn: np.where(np.arange(20) < 5, 65535, dn).astype(np.uint16), {}, "give nodata=65535"),
        (lambda dn: dn.astype(np.int64), {}, r"da\.astype\('int32'\)"),
        (lambda dn: (dn // 40).clip(0, 255).astype(np.uint8), {}, "scale=1/255"),
        (lambda dn: (dn // 40).clip(0, 255).astype(np.uint8), {"scale_factor": 1e-4}, "uint8"),
    ],
)
def test_arrays_are_judged_as_files_are_with_the_names_of_arguments(sample, change, attrs, advice, lazy):
    da = array(change(sample[:, :20, :20].clip(1)), **attrs)
    with pytest.raises(CatalogError, match=advice) as caught:
        geosr.upscale(da.chunk() if lazy else da, "bicubic").compute()
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("declared", [65535, -9999])
def test_dn_0_is_no_measurement_beside_another_nodata(sample, declared):
    pixels = sample[:, :20, :20].clip(1).astype(np.uint16 if declared > 0 else np.int16)
    pixels[:, 4:7, 4:9] = 0
    high = geosr.upscale(array(pixels), "bicubic", nodata=declared).values
    hole = (pixels == 0).repeat(4, axis=1).repeat(4, axis=2)
    assert ((high == declared) == hole).all()
