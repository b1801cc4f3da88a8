"""The Python interface: super-resolution of xarray's DataArrays.

    import geosr
    sharp = geosr.upscale(da)          # or da.geosr.upscale()
    estimate = geosr.upscale(da, uncertainty=True)   # a Dataset: image, half_width, measured

Lazy where the input is: on a dask-backed array nothing is read or computed until the result is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import dask.array
import numpy as np
import xarray as xr

from catalog import BandSpec
from catalog.arrays import band_specs
from catalog.inherited_tags import holds_for_result
from catalog.sentinel2 import NODATA_DN
from geosr.arrays.chunks import upscale_image
from geosr.arrays.dataset import with_uncertainty
from geosr.arrays.encoding import Storage, declared_nodata, set_encoding
from geosr.arrays.grid import grid_mapping, grid_of, regrid
from geosr.engine import Device, EngineName, Precision, choose_engine
from geosr.engine.chunking import check_core
from geosr.errors import UsageError
from geosr.inference.upscaler import ModelSpec
from geosr.model.bands import map_bands
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.run.product import detail_of
from geosr.run.uncertainty_layers import check_calibrated
from tiling import ChunkPlan, whole

#: Attributes with a value for each band.
_PER_BAND = ("long_name", "scales", "offsets", "units", "nodatavals", "band_tags")


@overload
def upscale(
    da: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    core_px: int = 256,
    uncertainty: Literal[False] = False,
    sharpness: float = 0.0,
) -> xr.DataArray: ...


@overload
def upscale(
    da: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    core_px: int = 256,
    uncertainty: Literal[True],
    sharpness: float = 0.0,
) -> xr.Dataset: ...


@overload
def upscale(
    da: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    core_px: int = 256,
    uncertainty: bool,
    sharpness: float = 0.0,
) -> xr.DataArray | xr.Dataset: ...


def upscale(
    da: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    core_px: int = 256,
    uncertainty: bool = False,
    sharpness: float = 0.0,
) -> xr.DataArray | xr.Dataset:
    """Super-resolve ``(…, band, y, x)``, or ``(y, x)``; leading dimensions such as time are done one by one.

    The result has the same type, attributes and meaning of values on a grid four times finer with the same bounds.
    Its bands are those of ``da`` that the model serves, in their order.

    Parameters
    ----------
    da
        DN or reflectance. NaN, infinities and ``nodata`` are not measurements: their pixels are nodata in the result.
    model
        A shipped model's name, or the path of a model card.
    bands
        Names of the bands; by default the ``band`` coordinate's, or ``long_name``'s as ``rioxarray`` sets it.
    scale, offset
        ``reflectance = value * scale + offset``; by default ``scale_factor`` and ``add_offset``, or band by band
        ``scales`` and ``offsets``, or DN / 10000 for integers and the values themselves for floats.
    nodata
        By default what the array declares, as ``_FillValue`` or ``nodata``, or DN 0 for integers and for floats that
        were read from them. What is declared or given is declared of the result.
    engine, device, precision
        As for the command.
    core_px
        Side of a chunk, pixels of ``da``.
    uncertainty
        Return a Dataset: ``image``, which is the result; ``half_width`` of each pixel's calibrated interval, float32 in
        the image's units, NaN where that is nodata; and ``measured``, the percentage of the local detail that is
        measured, without bands, 255 where no band was measured.
    sharpness
        Share of the model's visual weights, 0 to 1. Above 0 the result looks sharper and is not for measuring, which
        its attributes ``GEOSR_SHARPNESS`` and ``GEOSR_DETAIL`` say; it has no half-widths then.

    Returns
    -------
    xarray.DataArray | xarray.Dataset
        The result on the finer grid; a Dataset with ``uncertainty=True``.

    Raises
    ------
    geosr.errors.UsageError
        The array's dimensions, grid, scales or nodata make no sense, or the model has no calibrated half-widths or
        no such sharpness.
    geosr.errors.ModelError
        The model does not exist or lacks a band.
    catalog.CatalogError
        The values cannot be reflectance.

    """
    _check_dimensions(da)
    geobox = grid_of(da)
    cube = da if da.ndim > 2 else da.expand_dims("band")
    card = read_card(model, sharpness)
    calibration = check_calibrated(card) if uncertainty else None
    specs = _specs(da, _band_names(da, cube, bands), scale, offset)
    mapping = map_bands([band.name for band in specs], card, picture=False)
    chosen = [i for i, band in enumerate(specs) if band.name in mapping.keep]
    specs = tuple(specs[i] for i in chosen)
    declared = declared_nodata(da, nodata)
    storage = Storage.of(da, max(abs(band.scale) for band in specs), declared)
    if declared is not None or storage is not None:
        value = declared if storage is None else storage.nodata
        empty = _empty_dn(da, storage)
        also = () if empty is None or empty == value else (empty,)
        specs = tuple(replace(band, nodata=value, also_nodata=also) for band in specs)
    check_core(card, core_px)
    plan = ChunkPlan(geobox, whole(geobox), card.scale, core_px, card.halo_px)
    chosen_engine = choose_engine(engine, device, precision, network=card.learned, stack=card.stack is not None)
    spec = ModelSpec(
        model, card.digest_in(chosen_engine.precision), chosen_engine, specs, picture=False, sharpness=sharpness
    )

    picked = cube.isel({cube.dims[-3]: chosen})
    lead = picked.shape[:-3]
    images = [upscale_image(picked.data[index], plan, spec, uncertainty=uncertainty) for index in np.ndindex(*lead)]
    stack: Any = dask.array.stack if _is_lazy(da) else np.stack
    data, *more = (stack(parts).reshape(*lead, *parts[0].shape) for parts in zip(*images, strict=True))
    if storage is not None:
        data = data.map_blocks(storage.fit, dtype=data.dtype) if _is_lazy(da) else storage.fit(data)
    kept = picked if da.ndim > 2 else da
    result = xr.DataArray(
        data if da.ndim > 2 else data[0],
        dims=kept.dims,
        coords=regrid(kept, plan.geobox),
        attrs=_attributes(da, chosen if da.ndim > 2 else None),
        name=da.name,
    )
    if sharpness:
        result.attrs |= {"GEOSR_SHARPNESS": sharpness, "GEOSR_DETAIL": detail_of(card)}
    _set_grid_mapping(result, da)
    set_encoding(result, da, storage, declared)
    if calibration is None:
        return result
    half_width, measured = more
    return with_uncertainty(result, half_width if da.ndim > 2 else half_width[0], measured[..., 0, :, :], calibration)


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


def _specs(da: xr.DataArray, names: Sequence[str], scale: float | None, offset: float | None) -> tuple[BandSpec, ...]:
    """The bands with their radiometry, each its own."""
    scales = [scale] * len(names) if scale is not None else _declared(da, "scale_factor", "scales", len(names))
    offsets = [offset] * len(names) if offset is not None else _declared(da, "add_offset", "offsets", len(names))
    return tuple(
        band
        for name, own_scale, own_offset in zip(names, scales, offsets, strict=True)
        for band in band_specs([name], da.dtype.name, scale=own_scale, offset=own_offset, nodata=None)
    )


def _empty_dn(da: xr.DataArray, storage: Storage | None) -> float | None:
    """The value of Sentinel-2's DN 0, which is no measurement whatever nodata is declared; None for plain floats."""
    if storage is not None:
        return NODATA_DN * storage.scale + storage.offset
    return float(NODATA_DN) if np.issubdtype(da.dtype, np.integer) and da.dtype.itemsize > 1 else None


def _declared(da: xr.DataArray, name: str, per_band: str, count: int) -> list[float | None]:
    """Scales or offsets that still have to be applied; rioxarray writes neutral ones into every array."""
    neutral = {"scale_factor": 1.0, "add_offset": 0.0}[name]
    values = da.attrs.get(per_band, [da.attrs.get(name)] * count)
    if len(values) != count:
        argument = {"scale_factor": "scale", "add_offset": "offset"}[name]
        raise UsageError(f"the attribute {per_band} is for {len(values)} bands, and there are {count}: give {argument}")
    return [None if value is None or float(value) == neutral else float(value) for value in values]


def _band_names(da: xr.DataArray, cube: xr.DataArray, bands: Sequence[str] | None) -> list[str]:
    count = cube.shape[-3]
    if bands is not None:
        names = [str(band) for band in bands]
        if len(names) != count:
            raise UsageError(f"bands names {len(names)} bands, and the array has {count} along {cube.dims[-3]!r}")
        return names
    coordinate = cube.coords.get(cube.dims[-3])
    if coordinate is not None and coordinate.dtype.kind in "UOT":
        return [str(value) for value in coordinate.values]
    described = da.attrs.get("long_name")
    if isinstance(described, list | tuple) and len(described) == count:
        return [str(text) for text in described]
    if count == 1:
        return [described if isinstance(described, str) else str(da.name or "band 1")]
    return [f"band {i + 1}" for i in range(count)]


def _attributes(da: xr.DataArray, chosen: Sequence[int] | None) -> dict[str, Any]:
    """What the attributes say that holds for the result, whose bands are ``chosen``; None for an image without."""
    attrs = {name: value for name, value in da.attrs.items() if holds_for_result(name)}
    for name in _PER_BAND:
        values = attrs.get(name)
        if not isinstance(values, list | tuple):
            continue
        if chosen is not None and len(values) == da.shape[-3]:
            attrs[name] = type(values)([_holding(values[i]) for i in chosen])
        else:
            del attrs[name]
    return attrs


def _holding(value: Any) -> Any:
    """A band's own metadata, but for what does not hold for the result."""
    return {name: own for name, own in value.items() if holds_for_result(name)} if isinstance(value, dict) else value


def _set_grid_mapping(result: xr.DataArray, da: xr.DataArray) -> None:
    """Name the coordinate that holds the CRS where rioxarray and xarray look for it."""
    mapping = grid_mapping(da)
    if mapping in result.coords:
        result.encoding["grid_mapping"] = mapping
        result.attrs.pop("grid_mapping", None)


def _is_lazy(da: xr.DataArray) -> bool:
    return isinstance(da.data, dask.array.Array)
