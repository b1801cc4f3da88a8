"""Bands of an xarray array: their names, radiometry and nodata, from its coordinates and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from catalog import BandSpec
from catalog.arrays import band_specs
from catalog.sentinel2 import NODATA_DN
from geosr.arrays.encoding import Storage, declared_nodata
from geosr.arrays.numbers import number_in
from geosr.errors import UsageError


@dataclass(frozen=True)
class GivenRadiometry:
    """Scale, offset and nodata as a user gives them; None for what the array says itself."""

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None

    def specs(self, da: xr.DataArray, names: Sequence[str]) -> tuple[BandSpec, ...]:
        """Bands of an array with these names, each with its own scale and offset."""
        given = len(names)
        scales = [self.scale] * given if self.scale is not None else _declared(da, "scale_factor", "scales", given)
        offsets = [self.offset] * given if self.offset is not None else _declared(da, "add_offset", "offsets", given)
        return tuple(
            band
            for name, scale, offset in zip(names, scales, offsets, strict=True)
            for band in band_specs([name], da.dtype.name, scale=scale, offset=offset, nodata=None)
        )


@dataclass(frozen=True)
class StoredBands:
    """Bands of one array, with how its values are stored."""

    specs: tuple[BandSpec, ...]
    storage: Storage | None
    """None where values are stored as they are."""
    declared: float | None
    """Nodata that is declared of the array or given by the user; None where neither is."""

    @classmethod
    def of(cls, da: xr.DataArray, specs: Sequence[BandSpec], nodata: float | None) -> StoredBands:
        """Add to the bands the values that are no measurement."""
        declared = declared_nodata(da, nodata)
        storage = Storage.of(da, max(abs(band.scale) for band in specs), declared)
        if declared is not None or storage is not None:
            value = declared if storage is None else storage.nodata
            empty = _empty_dn(da, storage)
            also = () if empty is None or empty == value else (empty,)
            specs = [replace(band, nodata=value, also_nodata=also) for band in specs]
        return cls(tuple(specs), storage, declared)

    def fit(self, data: Any) -> Any:
        """Values, NumPy or dask, that the storage can hold."""
        if self.storage is None:
            return data
        lazy = isinstance(data, dask.array.Array)
        pixels: Any = data
        return pixels.map_blocks(self.storage.fit, dtype=pixels.dtype) if lazy else self.storage.fit(pixels)


def split_names(bands: str | Sequence[str] | None) -> list[str] | None:
    """Names of bands, from a list or from one text as on the command line: ``"B02,B03"``.

    Raises :class:`UsageError` for names that are empty.
    """
    if bands is None:
        return None
    names = [name.strip() for name in bands.split(",")] if isinstance(bands, str) else [str(name) for name in bands]
    if not names or "" in names:
        raise UsageError(f'bands {bands!r} has an empty name: give names as ["B02", "B03"] or "B02,B03"')
    return names


def band_names(da: xr.DataArray, cube: xr.DataArray, bands: str | Sequence[str] | None) -> list[str]:
    """Names of an array's bands: those that are given, the coordinate's, or ``long_name``'s.

    ``cube`` is the array with a dimension for bands, where it has none itself.
    """
    count = cube.shape[-3]
    names = split_names(bands)
    if names is not None:
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


def _empty_dn(da: xr.DataArray, storage: Storage | None) -> float | None:
    """The value of Sentinel-2's DN 0, which is no measurement whatever nodata is declared; None for plain floats."""
    if storage is not None:
        return NODATA_DN * storage.scale + storage.offset
    return float(NODATA_DN) if np.issubdtype(da.dtype, np.integer) and da.dtype.itemsize > 1 else None


def _declared(da: xr.DataArray, name: str, per_band: str, count: int) -> list[float | None]:
    """Scales or offsets that still have to be applied; rioxarray writes neutral ones into every array."""
    neutral = {"scale_factor": 1.0, "add_offset": 0.0}[name]
    argument = {"scale_factor": "scale", "add_offset": "offset"}[name]
    values = da.attrs.get(per_band, da.attrs.get(name))
    if values is None or isinstance(values, str) or np.size(values) == 1:
        number = number_in(values, per_band if per_band in da.attrs else name, argument)
        return [None if number == neutral else number] * count
    if len(values) != count:
        raise UsageError(f"the attribute {per_band} is for {len(values)} bands, and there are {count}: give {argument}")
    numbers = [number_in(value, per_band, argument) for value in values]
    return [None if number == neutral else number for number in numbers]
