"""Upscaling of one DataArray, whose bands are along a dimension."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from geosr.arrays.attributes import attributes_of, set_grid_mapping, sharpness_attributes
from geosr.arrays.bands import GivenRadiometry, StoredBands, band_names
from geosr.arrays.dataset import with_uncertainty
from geosr.arrays.encoding import set_encoding
from geosr.arrays.grid import grid_of, regrid
from geosr.arrays.method import Method, served
from geosr.errors import UsageError
from tiling import refine


def upscale_array(
    da: xr.DataArray, bands: str | Sequence[str] | None, radiometry: GivenRadiometry, method: Method
) -> xr.DataArray | xr.Dataset:
    """Upscale ``(…, band, y, x)`` or ``(y, x)``: a DataArray, or with uncertainty a Dataset."""
    _check_dimensions(da)
    geobox = grid_of(da)
    cube = da if da.ndim > 2 else da.expand_dims("band")
    specs = radiometry.specs(da, band_names(da, cube, bands))
    chosen = served(method.card, [band.name for band in specs])
    stored = StoredBands.of(da, [specs[i] for i in chosen], radiometry.nodata)

    picked = cube.isel({cube.dims[-3]: chosen})
    data, *more = method(picked.data, geobox, stored.specs)
    data = stored.fit(data)
    kept = picked if da.ndim > 2 else da
    result = xr.DataArray(
        data if da.ndim > 2 else data[0],
        dims=kept.dims,
        coords=regrid(kept, refine(geobox, method.card.scale)),
        attrs=attributes_of(da, chosen if da.ndim > 2 else None) | sharpness_attributes(method.card),
        name=da.name,
    )
    set_grid_mapping(result, da)
    set_encoding(result, da, stored.storage, stored.declared)
    if method.calibration is None:
        return result
    half_width, measured = more
    half_width = half_width if da.ndim > 2 else half_width[0]
    return with_uncertainty(result, half_width, measured[..., 0, :, :], method.calibration)


def _check_dimensions(da: xr.DataArray) -> None:
    if da.ndim < 2 or 0 in da.shape:
        raise UsageError(f"an array of shape {da.shape} has no pixels: give (band, y, x)")
    if "band" in da.dims and da.dims[-3:-2] != ("band",):
        raise UsageError(f"the dimensions are {da.dims}: transpose to (…, band, y, x)")
    if da.ndim == 2:
        return
    bands = da.dims[-3]
    if bands in da.coords and da.coords[bands].dtype.kind == "M":
        raise UsageError(
            f"{bands!r} holds dates where the bands have to be: transpose to (…, band, y, x), "
            "for a single band after da.expand_dims('band')"
        )
