"""Upscaling of a Dataset, whose variables are the bands, as ``odc.stac.load`` and ``xarray.open_zarr`` give it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from catalog.inherited_tags import holds_for_result
from catalog.sentinel2 import band_name
from geosr.arrays.array import upscale_array
from geosr.arrays.attributes import attributes_of, set_grid_mapping, sharpness_attributes
from geosr.arrays.bands import GivenRadiometry, StoredBands, split_names
from geosr.arrays.dataset import half_width_of, measured_of
from geosr.arrays.encoding import NODATA_ATTRIBUTES, set_encoding
from geosr.arrays.grid import grid_mapping, grid_of, regrid
from geosr.arrays.method import Method, served
from geosr.errors import UsageError
from geosr.run.uncertainty_layers import MEASURED
from tiling import refine

#: Attributes that hold for all variables of a Dataset, where ``da.to_dataset("band")`` has moved them.
_OF_ALL = ("scale_factor", "add_offset", "_FillValue", *NODATA_ATTRIBUTES, "transform", "crs", "crs_wkt")

#: Variables that a message names.
_LISTED = 12


def upscale_dataset(
    ds: xr.Dataset, bands: str | Sequence[str] | None, radiometry: GivenRadiometry, method: Method
) -> xr.Dataset:
    """Upscale the variables that are bands; variables without rows and columns are kept, other images left out.

    A single variable with a dimension for bands, as ``xarray.open_dataset(…, engine="rasterio")`` gives it, is
    upscaled as that array.
    """
    ds = _with_mappings_as_coordinates(ds)
    images = [name for name, variable in ds.data_vars.items() if variable.ndim > 1 and variable.dtype.kind in "iuf"]
    if not images:
        raise UsageError("the Dataset has no variable with rows and columns: give one whose variables are the bands")
    image = ds[images[0]]
    rest = {
        name: variable.drop_vars(grid_mapping(image), errors="ignore")
        for name, variable in ds.data_vars.items()
        if name not in images and not set(variable.dims) & set(image.dims[-2:]) and holds_for_result(name)
    }
    if len(images) == 1 and "band" in image.dims:
        made = _of_array(image, bands, radiometry, method)
    else:
        made = _of_bands(ds, images, bands, radiometry, method)
    attrs = {name: value for name, value in ds.attrs.items() if holds_for_result(name)}
    return xr.Dataset({**rest, **made}, attrs=attrs | sharpness_attributes(method.card))


def _of_array(
    da: xr.DataArray, bands: str | Sequence[str] | None, radiometry: GivenRadiometry, method: Method
) -> dict[Hashable, xr.DataArray]:
    result = upscale_array(da, bands, radiometry, method)
    if isinstance(result, xr.DataArray):
        return {da.name: result}
    return {
        da.name: result["image"].rename(da.name),
        _half_width_variable(da.name): result["half_width"],
        MEASURED: result["measured"],
    }


def _of_bands(
    ds: xr.Dataset,
    images: list[Hashable],
    bands: str | Sequence[str] | None,
    radiometry: GivenRadiometry,
    method: Method,
) -> dict[Hashable, xr.DataArray]:
    candidates = _candidates(ds, images, split_names(bands))
    called = [_band_of(ds[name]) for name in candidates]
    chosen = [candidates[i] for i in served(method.card, [band_name(text) or text for text in called])]
    common = {name: ds.attrs[name] for name in _OF_ALL if name in ds.attrs}
    arrays = [ds[name].assign_attrs({**common, **ds[name].attrs}) for name in chosen]
    _check_alike(arrays)
    geobox = grid_of(arrays[0])
    parts = [StoredBands.of(da, radiometry.specs(da, [_band_of(da)]), radiometry.nodata) for da in arrays]
    specs = tuple(spec for part in parts for spec in part.specs)
    data, *more = method(_stacked([da.data for da in arrays], -3), geobox, specs)

    coords = regrid(arrays[0], refine(geobox, method.card.scale))
    made: dict[Hashable, xr.DataArray] = {}
    for i, (da, part) in enumerate(zip(arrays, parts, strict=True)):
        made[da.name] = xr.DataArray(
            part.fit(data[..., i, :, :]),
            coords,
            da.dims,
            attrs=attributes_of(ds[da.name], None) | sharpness_attributes(method.card),
            name=da.name,
        )
        set_grid_mapping(made[da.name], da)
        set_encoding(made[da.name], da, part.storage, part.declared)
    if method.calibration is not None:
        half_widths, measured = more
        for i, name in enumerate(chosen):
            layer = half_width_of(made[name], half_widths[..., i, :, :], method.calibration)
            made[_half_width_variable(name)] = layer
        made[MEASURED] = measured_of(made[chosen[0]], measured[..., 0, :, :])
    return made


def _candidates(ds: xr.Dataset, images: list[Hashable], asked: list[str] | None) -> list[Hashable]:
    """Variables that may be bands: those asked for, or those with a band's name, or all images."""
    if asked is not None:
        missing = [name for name in asked if name not in images]
        if missing:
            raise UsageError(
                f"the Dataset has no image {_listed(missing)} among {_listed(images)}: name its variables with bands, "
                "and rename those whose names the model does not know (ds.rename)"
            )
        if len(set(asked)) < len(asked):
            raise UsageError(f"bands names a variable twice: {_listed(asked)}")
        return list(asked)
    known = [name for name in images if band_name(_band_of(ds[name])) is not None]
    return known or images


def _band_of(da: xr.DataArray) -> str:
    """Name of the band that a variable holds: its own, or its ``long_name`` where only that is a band's."""
    described = da.attrs.get("long_name")
    if band_name(str(da.name)) is None and isinstance(described, str) and band_name(described) is not None:
        return described
    return str(da.name)


def _check_alike(arrays: list[xr.DataArray]) -> None:
    first = arrays[0]
    for da in arrays[1:]:
        if da.dims != first.dims:
            raise UsageError(
                f"the variables {first.name!r} {first.dims} and {da.name!r} {da.dims} have other dimensions: bring "
                f"them to one grid, as with ds[{da.name!r}].rio.reproject_match(ds[{first.name!r}])"
            )
        if da.dtype != first.dtype:
            raise UsageError(
                f"the variables {first.name!r} ({first.dtype}) and {da.name!r} ({da.dtype}) have other types: convert "
                "them to one (ds.astype), or choose with bands"
            )


def _with_mappings_as_coordinates(ds: xr.Dataset) -> xr.Dataset:
    """Make grid mappings coordinates, which NetCDF and Zarr may hold as variables."""
    names = {grid_mapping(variable) for variable in ds.data_vars.values()}
    return ds.set_coords([name for name in names if name in ds.data_vars and ds[name].ndim == 0])


def _stacked(parts: list[Any], axis: int) -> Any:
    lazy = any(isinstance(part, dask.array.Array) for part in parts)
    # Of an axis before the last two, counted in the stack.
    return dask.array.stack(parts, axis=axis) if lazy else np.stack(parts, axis=axis)  # type: ignore[no-untyped-call]


def _half_width_variable(name: Hashable) -> str:
    return f"{name}_half_width"


def _listed(names: Sequence[Hashable]) -> str:
    shown = ", ".join(map(str, names[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
