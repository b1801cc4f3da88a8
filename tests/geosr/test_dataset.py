"""Datasets as people have them: from odc-stac, stackstac, rioxarray and Zarr, band by band, date by date."""

from __future__ import annotations

import dask.array
import numpy as np
import odc.stac
import pystac
import pystac_client
import pytest
import rioxarray
import stackstac
import xarray as xr

import geosr
from geosr.errors import ModelError, UsageError
from tests.conftest import RGBN, SAMPLE, write_raster
from tests.geosr.test_api import opened
from tests.stac_items import serve, write_item

COLOURS = ["blue", "green", "red", "nir"]
NAMED = {"band_1": "B02", "band_2": "B03", "band_3": "B04", "band_4": "B08"}


@pytest.fixture
def low(crop) -> xr.Dataset:
    """A Dataset of one date, a variable for each band."""
    bands = opened(crop)[:, :24, :20].assign_coords(band=list(RGBN))
    bands.attrs = {"_FillValue": 0}
    return bands.to_dataset("band").drop_attrs(deep=False)


def as_array(ds: xr.Dataset) -> xr.DataArray:
    array = ds.to_dataarray("band").transpose(..., "band", "y", "x")
    array.attrs = {"_FillValue": 0}
    return array


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[pystac.Item]:
    """Two dates of a real place, as a STAC API gives them."""
    folder = tmp_path_factory.mktemp("items")
    with rioxarray.open_rasterio(SAMPLE) as sample:
        pixels = sample.values[:, 100:148, 100:140]
    scl = np.full((24, 20), 4, np.uint8)
    first = write_item(folder, "first", pixels, scl=scl)
    later = pixels + np.uint16(50)
    later[:, 8, 9] = 0
    second = write_item(folder, "second", later, scl=scl, datetime="2023-08-20T10:00:31Z")
    with serve(folder, second, first) as address:
        search = pystac_client.Client.open(address).search(collections=["sentinel-2-l2a"])
        return sorted(search.items(), key=lambda item: item.id)


def test_a_variable_for_each_band(low):
    high = geosr.upscale(low)
    assert list(high.data_vars) == list(RGBN)
    assert high.B04.dims == ("y", "x")
    assert (as_array(high).values == geosr.upscale(as_array(low)).values).all()
    assert high.rio.bounds() == low.rio.bounds()
    assert high.rio.crs == low.rio.crs
    assert (high.odc.geobox.resolution.x, high.B08.shape, high.B08.dtype) == (2.5, (96, 80), np.uint16)


def test_the_accessor(low):
    assert low.geosr.upscale("bicubic").identical(geosr.upscale(low, "bicubic"))


def test_what_odc_stac_loads(items):
    """Numbers are those of an array of its bands; classes are left out, dates stay, and nothing is read before."""
    loaded = odc.stac.load(items, bands=[*COLOURS, "scl"], chunks={"x": 20})
    high = geosr.upscale(loaded, "backprojection", core_px=32)
    assert list(high.data_vars) == COLOURS
    assert all(isinstance(band.data, dask.array.Array) for band in high.data_vars.values())
    assert high.red.dims == ("time", "y", "x")
    assert (high.time == loaded.time).all()
    assert high.odc.geobox == loaded.odc.geobox.zoom_out(0.25)
    assert high.red.rio.nodata == 0
    eager = loaded.compute()
    for date in range(2):
        one = geosr.upscale(as_array(eager[COLOURS].isel(time=date)), "backprojection", core_px=32)
        assert (as_array(high.isel(time=date)).values == one.values).all()
    missing = (high.red.values == 0).nonzero()
    assert set(missing[0]) == {1}
    assert (len(missing[0]), missing[1].min(), missing[2].min()) == (16, 32, 36)


def test_what_stackstac_stacks(items):
    form = {"epsg": 32633, "resolution": 10, "rescale": False, "dtype": "uint16", "fill_value": np.uint16(0)}
    stacked = stackstac.stack(items, assets=COLOURS, **form)
    high = geosr.upscale(stacked, "bicubic")
    assert high.band.values.tolist() == COLOURS
    assert "resolution_xy" not in high.attrs
    left, _, _, top = stacked.attrs["spec"].bounds
    assert high.rio.bounds()[0] == pytest.approx(left)
    assert high.rio.bounds()[3] == pytest.approx(top)
    series = stacked.to_dataset("band")
    parts = geosr.upscale(series, "bicubic")
    assert list(parts.data_vars) == COLOURS
    assert (parts.to_dataarray("band").transpose("time", "band", ...).values == high.values).all()
    assert parts.rio.bounds() == high.rio.bounds()


def test_reflectance_of_stackstac_keeps_missing_pixels(items):
    stacked = stackstac.stack(items, assets=COLOURS, epsg=32633, resolution=10)
    high = geosr.upscale(stacked, "backprojection")
    assert high.dtype == np.float64
    holes, expected = np.isnan(high.values), np.isnan(stacked.values)
    assert 0 < expected.mean() < 1
    assert (holes == expected.repeat(4, axis=-1).repeat(4, axis=-2)).all()


def test_zarr_keeps_how_values_are_stored(tmp_path, low):
    """Reflectance that Zarr holds as integers comes back as such, appended with its CRS."""
    encoding = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    stored = (low.astype("float64") / 10000).where(low > 0).assign_coords(time=np.datetime64("2024-06-01", "ns"))
    for band in RGBN:
        stored[band].attrs.clear()
        stored[band].encoding = {"grid_mapping": "spatial_ref"}
    stored.expand_dims("time").to_zarr(tmp_path / "low.zarr", encoding=dict.fromkeys(RGBN, encoding))
    source = xr.open_zarr(tmp_path / "low.zarr")
    high = geosr.upscale(source, "bicubic", core_px=12)
    high.to_zarr(tmp_path / "high.zarr")
    raw = xr.open_zarr(tmp_path / "high.zarr", mask_and_scale=False)
    assert raw.B02.dtype == np.uint16
    assert {name: raw.B02.attrs[name] for name in ("scale_factor", "add_offset", "_FillValue")} == {
        "scale_factor": 1e-4,
        "add_offset": -0.1,
        "_FillValue": 0,
    }
    again = xr.open_zarr(tmp_path / "high.zarr", decode_coords="all")
    assert again.rio.crs == low.rio.crs
    assert again.rio.bounds() == low.rio.bounds()
    np.testing.assert_allclose(again.B08.values, high.B08.values, atol=5.1e-5)


def test_a_grid_mapping_that_is_a_variable(low):
    """NetCDF by CF has it so, where it is opened without ``decode_coords="all"``."""
    for band in RGBN:
        low[band].encoding.clear()
        low[band].attrs["grid_mapping"] = "spatial_ref"
    high = geosr.upscale(low.reset_coords("spatial_ref"), "bicubic")
    assert high.rio.crs == low.rio.crs
    assert high.identical(geosr.upscale(low, "bicubic"))


def test_one_variable_with_a_dimension_for_bands(crop):
    """As rioxarray's engine for ``xarray.open_dataset`` gives it."""
    whole = xr.open_dataset(crop, engine="rasterio", mask_and_scale=False)[["band_data"]].isel(y=slice(20), x=slice(20))
    high = geosr.upscale(whole, uncertainty=True)
    assert list(high.data_vars) == ["band_data", "band_data_half_width", "measured"]
    assert high.band_data.identical(geosr.upscale(whole.band_data))
    assert list(geosr.upscale(whole, "bicubic").data_vars) == ["band_data"]


def test_bands_that_long_names_tell(crop):
    variables = opened(crop, band_as_variable=True).isel(y=slice(16), x=slice(16))
    high = geosr.upscale(variables)
    assert list(high.data_vars) == list(NAMED)


def test_uncertainty_of_each_band(low):
    array = geosr.upscale(as_array(low), uncertainty=True)
    high = geosr.upscale(low, uncertainty=True)
    assert list(high.data_vars) == [*RGBN, *(f"{band}_half_width" for band in RGBN), "measured"]
    assert (high.B03_half_width.values == array.half_width.sel(band="B03").values).all()
    assert high.measured.identical(array.measured)
    assert high.B03_half_width.rio.crs == low.rio.crs


def test_other_variables(low):
    """Keep variables without rows and columns; other images, as classes and probabilities, go with the old grid."""
    low["clouds"] = 12.5
    low["SCL"] = low.B02.astype("uint8")
    low["columns"] = ("x", np.arange(20.0))
    high = geosr.upscale(low.assign_attrs(title="a place", transform="10 0"), "bicubic")
    assert set(high.data_vars) == {*RGBN, "clouds"}
    assert high.attrs == {"title": "a place"}


def test_bands_are_chosen_by_their_variables(low):
    low["SCL"] = low.B02.astype("uint8")
    assert list(geosr.upscale(low, "bicubic", bands="B08, B03").data_vars) == ["B08", "B03"]
    assert list(geosr.upscale(low, "bicubic", bands=["B03"]).data_vars) == ["B03"]


def test_radiometry_of_a_dataset_is_that_of_its_variables(crop):
    """``to_dataset`` moves attributes to the Dataset."""
    shifted = opened(crop)[:, :24, :20].assign_coords(band=list(RGBN)) + np.uint16(1000)
    shifted.attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    high = geosr.upscale(shifted.to_dataset("band"), "backprojection")
    assert (as_array(high).values == geosr.upscale(shifted, "backprojection").values).all()
    assert high.attrs == shifted.attrs


def test_radiometry_is_that_of_each_variable(low):
    expected = geosr.upscale(low)
    low["B02"] = (low.B02 + np.uint16(1000)).assign_attrs(scale_factor=1e-4, add_offset=-0.1, _FillValue=0)
    high = geosr.upscale(low)
    assert np.abs(high.B02.values.astype(int) - 1000 - expected.B02.values).max() <= 1
    assert np.abs(high.B03.values.astype(int) - expected.B03.values).max() <= 1
    assert (high.B02.attrs["add_offset"], "add_offset" in high.B03.attrs) == (-0.1, False)


def test_names_as_one_text(crop):
    bare = opened(crop)[:, :16, :16]
    bare.attrs.pop("long_name")
    assert geosr.upscale(bare, bands="B02, B03,B04 ,B08").identical(geosr.upscale(bare, bands=RGBN))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars(RGBN), "no variable with rows and columns"),
        (lambda ds: ds.drop_vars("B08"), "has no B08 among B02, B03, B04"),
        (
            lambda ds: ds.assign(B08=ds.B08.astype("float32")),
            r"'B02' \(uint16\) and 'B08' \(float32\) have other types",
        ),
        (lambda ds: ds.assign(B08=ds.B08.rename(x="x2")), "have other dimensions: bring them to one grid"),
        (lambda ds: ds.assign(blue=ds.B02), "B02 more than once"),
        (lambda ds: ds.transpose("x", "y"), r"transpose to \(…, band, y, x\)"),
    ],
)
def test_datasets_that_are_refused(low, change, message):
    with pytest.raises((UsageError, ModelError), match=message) as refused:
        geosr.upscale(change(low))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("B02,B11", "no image B11 among B02, B03, B04, B08"),
        ("B02,,B03", "has an empty name"),
        ("B02,B02", "names a variable twice"),
    ],
)
def test_bands_that_are_refused(low, bands, message):
    with pytest.raises(UsageError, match=message):
        geosr.upscale(low, "bicubic", bands=bands)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 8, 8), np.uint16), "a NumPy array does not say which bands it holds"),
        (xr.DataTree(xr.Dataset()), "a DataTree has a grid for each node: give the Dataset of one"),
        ("tile.tif", "'tile.tif' is a path: open it with rioxarray.open_rasterio"),
        (None, "a NoneType is no DataArray or Dataset"),
    ],
)
def test_what_is_no_array_is_refused(data, message):
    with pytest.raises(UsageError, match=message) as refused:
        geosr.upscale(data)
    assert "\n" not in str(refused.value)


def test_written_rasters_have_the_bands(tmp_path, low):
    low.geosr.upscale("bicubic").rio.to_raster(tmp_path / "out.tif")
    again = opened(tmp_path / "out.tif")
    assert list(again.attrs["long_name"]) == list(RGBN)
    source = write_raster(tmp_path / "in.tif", as_array(low).values, nodata=0)
    assert (again.values == geosr.upscale(opened(source), "bicubic").values).all()
