"""Grids of arrays: any kind is found, and arrays without one are refused."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine

import geosr
from geosr.arrays.grid import grid_of
from geosr.errors import UsageError
from tests.conftest import RGBN, write_raster
from tests.geosr.test_api import opened


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


def labelled(x, y, **attrs):
    coords = {"band": list(RGBN), "y": y - 10.0 * np.arange(6), "x": x + 10.0 * np.arange(8), "epsg": 32633}
    return xr.DataArray(np.full((4, 6, 8), 900, np.uint16), dims=("band", "y", "x"), coords=coords, attrs=attrs)


@pytest.mark.parametrize("rows", [slice(None), slice(2, None)])
def test_labels_of_top_left_corners_are_told_from_centres_by_the_transform(rows):
    """stackstac labels corners, and keeps the transform of the whole array when a part is selected."""
    transform = Affine(10, 0, 400000, 0, -10, 5300000)
    first = rows.start or 0
    for half, attrs in ((0, {"transform": transform}), (5, {"transform": transform}), (5, {})):
        low = labelled(400000 + half, 5300000 - half, **attrs)[:, rows]
        assert tuple(grid_of(low).affine)[:6] == (10, 0, 400000, 0, -10, 5300000 - 10 * first)
        high = geosr.upscale(low, "bicubic")
        assert (float(high.x[0]), float(high.y[0])) == (400001.25, 5299998.75 - 10 * first)


@pytest.mark.parametrize(
    ("x", "fault"), [([0, np.nan, 20], "not all finite"), ([0, np.inf, 20], "not all finite"), ([5, 5, 5], "repeat")]
)
def test_coordinates_that_place_nothing_are_refused(x, fault):
    low = xr.DataArray(np.ones((4, 3, 3), np.uint16), dims=("band", "y", "x"), coords={"y": [30, 20, 10], "x": x})
    with pytest.raises(UsageError, match=fault):
        geosr.upscale(low)


def test_arrays_placed_by_control_points_are_refused_with_their_name():
    low = xr.DataArray(np.ones((4, 3, 3), np.uint16), dims=("band", "y", "x"))
    low = low.assign_coords(spatial_ref=xr.DataArray(0, attrs={"gcps": "{}"}))
    with pytest.raises(UsageError, match=r"ground control points \(GCPs\)"):
        geosr.upscale(low)
