"""The grid that an xarray array lies on, and the coordinates of a finer one.

What is on no regular grid is refused: its coordinates could not be replaced by finer ones.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  registers the accessor that finds an array's grid
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.transform import Affine

from catalog.inherited_tags import holds_for_result
from catalog.placing import transform_fault
from geosr.errors import UsageError

#: How far a coordinate may be from its grid's, pixels: rounded decimals are no other grid.
_TOLERANCE_PX = 0.01

#: Attributes by which a coordinate without dimensions holds a CRS or a transform.
_CRS_ATTRIBUTES = ("spatial_ref", "crs_wkt")
_PLACING_ATTRIBUTES = (*_CRS_ATTRIBUTES, "GeoTransform", "gcps")


def grid_of(da: xr.DataArray) -> GeoBox:
    """The grid of the last two dimensions; pixels counted from a corner where there is neither CRS nor coordinates.

    Raises :class:`UsageError` when rows and columns are not the last two dimensions, and when there is a CRS or are
    coordinates without a regular grid.
    """
    _check_form(da)
    spatial = da.odc.spatial_dims
    if spatial is not None and spatial != da.dims[-2:]:
        raise UsageError(
            f"the last two dimensions have to be rows and columns, and they are {da.dims[-2:]}: "
            f"transpose to (…, band, {spatial[0]}, {spatial[1]})"
        )
    _check_coordinates(da)
    geobox = da.odc.geobox
    if isinstance(geobox, GeoBox):
        grid = _followed(geobox, da)
        fault = transform_fault(grid.affine)
        if fault is not None:
            raise UsageError(f"the array is on no grid, for its coordinates or GeoTransform have {fault}")
        return _from_labels(grid, da)
    if any("gcps" in coordinate.attrs for coordinate in da.coords.values()):
        raise UsageError(
            "the array is placed by ground control points (GCPs) and has no grid: warp it to one first, "
            "da.rio.reproject or gdalwarp"
        )
    if geobox is not None or _is_placed(da):
        raise UsageError(
            "the array has a CRS or coordinates, and no regular grid follows from them: give it y and x coordinates, "
            "a GeoTransform where there is one row or column (da.rio.write_transform), or neither of them"
        )
    return GeoBox((da.shape[-2], da.shape[-1]), Affine.identity(), None)


def regrid(da: xr.DataArray, geobox: GeoBox) -> dict[Hashable, xr.DataArray]:
    """The array's coordinates with those of its grid replaced by those of ``geobox``."""
    rows, cols = da.dims[-2:]
    mapping = grid_mapping(da)
    kept = {
        name: coordinate
        for name, coordinate in da.coords.items()
        if not {rows, cols} & set(coordinate.dims)
        and name != mapping
        and not _places(coordinate)
        and holds_for_result(name)
    }
    fine = xr_coords(geobox, dims=(str(rows), str(cols)), crs_coord_name=mapping)
    if mapping in da.coords and mapping not in fine:
        transform = " ".join(str(number) for number in geobox.transform.to_gdal())
        fine[mapping] = da.coords[mapping].assign_attrs(GeoTransform=transform)
    return {**kept, **fine}


def grid_mapping(da: xr.DataArray) -> str:
    """Name of the coordinate that holds CRS and transform; ``spatial_ref`` where there is none."""
    name = da.encoding.get("grid_mapping", da.attrs.get("grid_mapping"))
    if name is None:
        holders = [own for own, coordinate in da.coords.items() if _places(coordinate, _CRS_ATTRIBUTES)]
        name = holders[0] if holders else "spatial_ref"
    return str(name)


def _check_form(da: xr.DataArray) -> None:
    """Refuse arrays of no size, and coordinates and values that only look like numbers."""
    if any(np.isnan(size) for size in da.shape):
        raise UsageError("the sizes of the array's chunks are not known: compute them, da.data.compute_chunk_sizes()")
    if str(da.attrs.get("_Unsigned", "")).lower() == "true" and da.dtype.kind == "i":
        raise UsageError(f"the array holds unsigned numbers as {da.dtype} (_Unsigned): decode them, xr.decode_cf(ds)")
    for dim in da.dims[-2:]:
        if dim in da.coords and da.coords[dim].dtype.kind in "SUOM":
            raise UsageError(f"the coordinates of {dim} are {da.coords[dim].dtype} and no numbers: assign the grid's")


def _check_coordinates(da: xr.DataArray) -> None:
    for dim in da.dims[-2:]:
        if dim not in da.coords or da.coords[dim].dtype.kind not in "iuf":
            continue
        values = da.coords[dim].values.astype(float)
        if not np.isfinite(values).all():
            raise UsageError(f"the coordinates of {dim} are not all finite numbers: assign those of the grid")
        if len(values) > 1 and (np.diff(values) == 0).any():
            raise UsageError(f"the coordinates of {dim} repeat: pixels without size have no place")


def _from_labels(geobox: GeoBox, da: xr.DataArray) -> GeoBox:
    """The grid where coordinates label pixels' top left corners, as stackstac's do, and the attributes tell so.

    The attribute ``transform`` may be that of a larger array: its corner is a whole number of pixels away from the
    first label, or half a pixel more where labels are those of centres.
    """
    told = da.attrs.get("transform")
    if told is None or isinstance(told, str) or not all(dim in da.coords for dim in da.dims[-2:]):
        return geobox
    try:
        a, b, c, d, e, f = (float(value) for value in tuple(told)[:6])
    except (TypeError, ValueError):
        return geobox
    own = geobox.affine
    if b or d or own.b or own.d or not (_is_same(a, own.a) and _is_same(e, own.e)):
        return geobox
    y, x = (float(da.coords[dim].values[0]) for dim in da.dims[-2:])
    from_corner = ((x - c) / a % 1.0, (y - f) / e % 1.0)
    if all(min(share, 1 - share) < _TOLERANCE_PX for share in from_corner):
        return geobox.translate_pix(0.5, 0.5)
    return geobox


def _is_same(size: float, other: float) -> bool:
    return abs(size - other) <= 1e-6 * abs(other)


def _followed(geobox: GeoBox, da: xr.DataArray) -> GeoBox:
    """The grid, if the coordinates are on it."""
    axes = {dim: da.coords[dim].values for dim in da.dims[-2:] if dim in da.coords}
    for dim, values in axes.items():
        if not _is_close(values, np.linspace(values[0], values[-1], len(values), dtype=float)):
            raise UsageError(f"{dim} is not evenly spaced: select a window without gaps, or interpolate to a grid")
    if not geobox.axis_aligned:
        # The coordinates of rotated grids count pixels.
        return geobox
    own = dict(zip(da.dims[-2:], geobox.coordinates.values(), strict=True))
    if all(_is_close(values, own[dim].values) for dim, values in axes.items()):
        return geobox
    if len(axes) < 2:
        raise UsageError(f"the coordinates of {next(iter(axes))} are not those of the array's GeoTransform")
    return _between_ends(geobox, *axes.values())


def _between_ends(geobox: GeoBox, y: NDArray[Any], x: NDArray[Any]) -> GeoBox:
    """The grid from the coordinates' ends: in single precision, the first two do not tell the step well enough."""
    step_y, step_x = (
        (float(axis[-1]) - float(axis[0])) / (len(axis) - 1) if len(axis) > 1 else step
        for axis, step in ((y, geobox.resolution.y), (x, geobox.resolution.x))
    )
    corner = Affine.translation(float(x[0]) - step_x / 2, float(y[0]) - step_y / 2)
    return GeoBox(geobox.shape, corner * Affine.scale(step_x, step_y), geobox.crs)


def _is_close(values: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Tell whether coordinates are within a hundredth of a pixel of ``expected``, or as near as their type can be."""
    step = abs(expected[1] - expected[0]) if len(expected) > 1 else 0.0
    rounding = float(np.spacing(np.abs(values).max())) if np.issubdtype(values.dtype, np.floating) else 0.0
    return bool((np.abs(values.astype(float) - expected) <= _TOLERANCE_PX * step + rounding).all())


def _is_placed(da: xr.DataArray) -> bool:
    """Tell whether anything places the array."""
    return any(
        bool(set(da.dims[-2:]) & set(coordinate.dims)) or _places(coordinate) for coordinate in da.coords.values()
    ) or any(name in da.attrs for name in ("crs", "crs_wkt"))


def _places(coordinate: xr.DataArray, attributes: tuple[str, ...] = _PLACING_ATTRIBUTES) -> bool:
    return coordinate.ndim == 0 and any(name in coordinate.attrs for name in attributes)
