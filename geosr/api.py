"""The Python interface: super-resolution of xarray's DataArrays.

    import geosr
    sharp = geosr.upscale(da)          # or da.geosr.upscale()

Lazy where the input is: on a dask-backed array nothing is read or computed until the result is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array
import numpy as np
import odc.geo.xr  # noqa: F401  registers the accessor that finds an array's grid
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.transform import Affine

from catalog.arrays import band_specs, check_plausible, validity
from geosr.engine import Device, Precision, choose_engine
from geosr.errors import UsageError
from geosr.model.bands import map_bands
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.upscaler import ModelSpec, upscaler_of
from tiling import Chunk, ChunkPlan, Reflection, grow, reflect, whole

#: How an array is to be written, as far as it holds for the result: chunks and the source's path do not.
_KEPT_ENCODING = ("dtype", "rasterio_dtype", "scale_factor", "add_offset", "_FillValue", "grid_mapping")


def upscale(
    da: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    device: Device = "auto",
    precision: Precision = "float32",
    core_px: int = 256,
) -> xr.DataArray:
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
        ``reflectance = value * scale + offset``; by default ``scale_factor`` and ``add_offset``, or DN / 10000 for
        integers and the values themselves for floats.
    nodata
        By default ``_FillValue``, or 0 for integers.
    device, precision
        As for the command.
    core_px
        Side of a chunk, pixels of ``da``.

    Raises
    ------
    geosr.errors.UsageError
        The array's dimensions or grid make no sense.
    geosr.errors.ModelError
        The model does not exist or lacks a band.
    catalog.CatalogError
        The values cannot be reflectance.

    """
    geobox = _grid(da)
    cube = da if da.ndim > 2 else da.expand_dims("band")
    names = _band_names(da, cube, bands)
    card = read_card(model)
    specs = band_specs(
        names,
        str(da.dtype),
        scale=_first(scale, _declared(da, "scale_factor")),
        offset=_first(offset, _declared(da, "add_offset")),
        nodata=_first(nodata, da.attrs.get("_FillValue"), _encoded_nodata(da)),
    )
    mapping = map_bands([band.name for band in specs], card, picture=False)
    chosen = [i for i, band in enumerate(specs) if band.name in mapping.keep]
    specs = tuple(specs[i] for i in chosen)
    plan = ChunkPlan(geobox, whole(geobox), card.scale, core_px, card.halo_px)
    spec = ModelSpec(model, card.digest, choose_engine(device, precision), specs, picture=False)

    picked = cube.isel({cube.dims[-3]: chosen})
    lead = picked.shape[:-3]
    images = [_upscale_image(picked.data[index], plan, spec) for index in np.ndindex(*lead)]
    stack = dask.array.stack if _is_lazy(da) else np.stack
    data: Any = stack(images).reshape(*lead, *images[0].shape)
    storage = Storage.of(da)
    if storage is not None:
        data = data.map_blocks(storage.fit, dtype=data.dtype) if _is_lazy(da) else storage.fit(data)
    return _wrap(data if da.ndim > 2 else data[0], picked, da, plan)


@dataclass(frozen=True)
class Storage:
    """How floats that were read from integers, as ``rioxarray`` does with ``masked=True``, are written again."""

    dtype: str
    """The file's type, an integer."""
    scale: float
    offset: float
    """``value = stored * scale + offset``."""
    fill: float | None
    """What NaN is stored as."""

    @classmethod
    def of(cls, da: xr.DataArray) -> Storage | None:
        """The storage in an array's encoding; None where it is stored as it is."""
        dtype = np.dtype(da.encoding.get("dtype", da.dtype))
        if not np.issubdtype(dtype, np.integer) or not np.issubdtype(da.dtype, np.floating):
            return None
        return cls(
            str(dtype),
            float(da.encoding.get("scale_factor", 1.0)),
            float(da.encoding.get("add_offset", 0.0)),
            _first(da.encoding.get("_FillValue")),
        )

    def fit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values that the type can hold: beyond its range they would wrap around, and beside ``fill`` become NaN."""
        limits = np.iinfo(self.dtype)
        stored = np.clip((values - self.offset) / self.scale, limits.min, limits.max)
        if self.fill is not None:
            beside = self.fill - 1 if self.fill == limits.max else self.fill + 1
            stored = np.where(np.rint(stored) == self.fill, beside, stored)
        changed = np.abs(stored * self.scale + self.offset - values) > 1e-3 * abs(self.scale)
        fitted: NDArray[Any] = np.where(changed, stored * self.scale + self.offset, values).astype(values.dtype)
        return fitted


def _upscale_image(image: Any, plan: ChunkPlan, spec: ModelSpec) -> Any:
    """One ``(band, y, x)`` image, NumPy or dask."""
    height, width = plan.geobox.shape
    bands = len(spec.bands)
    if not isinstance(image, dask.array.Array):
        out = np.empty((bands, height, width), dtype=image.dtype)
        for chunk in plan:
            part, reflection = _part(image, plan, chunk, spec)
            rows, cols = chunk.out.toslices()
            out[:, rows, cols] = upscale_window(part, reflection, spec)
        return out
    blocks: list[list[Any]] = [[] for _ in range(plan.rows)]
    for i, chunk in enumerate(plan):
        part, reflection = _part(image, plan, chunk, spec)
        task = delayed(partial(upscale_window, reflection=reflection, spec=spec), pure=True)(part)
        shape = (bands, chunk.out.height, chunk.out.width)
        blocks[i // plan.cols].append(dask.array.from_delayed(task, shape, dtype=image.dtype))  # type: ignore[no-untyped-call]
    return dask.array.block(blocks)  # type: ignore[no-untyped-call]


def _part(image: Any, plan: ChunkPlan, chunk: Chunk, spec: ModelSpec) -> tuple[Any, Reflection]:
    reflection = reflect(grow(chunk.core, read_card(spec.model).halo_px * 2), plan.extent.shape)
    rows, cols = reflection.inside.toslices()
    return image[:, rows, cols], reflection


def upscale_window(part: NDArray[Any], reflection: Reflection, spec: ModelSpec) -> NDArray[Any]:
    """One chunk from the pixels that exist around it."""
    valid = validity(part, [band.nodata for band in spec.bands])
    check_plausible(part, valid, spec.bands[0].scale, "the array")
    high, _ = upscaler_of(spec)(reflection(part), reflection(valid))
    return high


def _wrap(data: Any, picked: xr.DataArray, da: xr.DataArray, plan: ChunkPlan) -> xr.DataArray:
    """Give the pixels the coordinates of the finer grid and all else of the input."""
    y, x = da.dims[-2:]
    spatial = {"spatial_ref", "crs", y, x}
    kept = picked if da.ndim > 2 else da
    coords = {
        name: coord for name, coord in kept.coords.items() if name not in spatial and not {y, x} & set(coord.dims)
    }
    fine = xr_coords(plan.geobox, dims=(str(y), str(x)))
    attrs = dict(da.attrs)
    if isinstance(attrs.get("long_name"), list | tuple) and kept.ndim > 2:
        attrs["long_name"] = tuple(str(text) for text in np.atleast_1d(attrs["long_name"]))
    result = xr.DataArray(data, dims=kept.dims, coords={**coords, **fine}, attrs=attrs, name=da.name)
    result.encoding = {key: value for key, value in da.encoding.items() if key in _KEPT_ENCODING}
    return result


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
        return [str(described or da.name or "band 1")]
    return [f"band {i + 1}" for i in range(count)]


def _grid(da: xr.DataArray) -> GeoBox:
    if da.ndim < 2 or 0 in da.shape:
        raise UsageError(f"an array of shape {da.shape} has no pixels: give (band, y, x)")
    geobox = da.odc.geobox
    if isinstance(geobox, GeoBox):
        if tuple(geobox.shape) != da.shape[-2:]:
            raise UsageError(f"the last two dimensions have to be rows and columns: they are {da.dims[-2:]}")
        return geobox
    return GeoBox((da.shape[-2], da.shape[-1]), Affine.identity(), None)


def _declared(da: xr.DataArray, name: str) -> float | None:
    """A scale or offset that still has to be applied; rioxarray writes neutral ones into every array."""
    value = da.attrs.get(name)
    neutral = {"scale_factor": 1.0, "add_offset": 0.0}[name]
    return None if value is None or float(value) == neutral else float(value)


def _encoded_nodata(da: xr.DataArray) -> float | None:
    """What a file's nodata is in memory: floats that were read from one have NaN in its place."""
    return None if np.issubdtype(da.dtype, np.floating) else da.encoding.get("_FillValue")


def _first(*values: float | None) -> float | None:
    return next((float(value) for value in values if value is not None), None)


def _is_lazy(da: xr.DataArray) -> bool:
    return isinstance(da.data, dask.array.Array)
