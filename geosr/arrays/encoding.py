"""Storage of an xarray array: what marks its nodata, and whether its floats are integers in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  registers the accessor that knows an array's nodata
import xarray as xr
from numpy.typing import NDArray

from catalog.sentinel2 import NODATA_DN
from geosr.arrays.numbers import number_in
from geosr.errors import UsageError

#: Encoding that says how values become those of a file.
_STORED = ("dtype", "rasterio_dtype", "scale_factor", "add_offset", "_FillValue")

#: Encoding that is not applied when an array is written, whatever the values were read with.
_NOT_WRITTEN = ("scales", "offsets", "_Unsigned")

#: Reflectance per stored integer above which these cannot be DN: 8 bits hold percent.
_COARSEST_STEP = 0.01

#: Reflectance that a type's whole range has to cover.
_LEAST_RANGE = 0.1

#: Attributes besides ``_FillValue`` that tell nodata, as those of odc.stac.
NODATA_ATTRIBUTES = ("missing_value", "fill_value", "nodata")


@dataclass(frozen=True)
class Storage:
    """Form in which floats read from integers, as by ``rioxarray`` with ``masked=True``, are written again."""

    dtype: str
    """The file's type, an integer."""
    scale: float
    offset: float
    """``value = stored * scale + offset``."""
    fill: float | None
    """Stored value of a pixel without measurement."""
    nodata: float
    """Value of such a pixel in memory: NaN, as a rule."""

    @classmethod
    def of(cls, da: xr.DataArray, reflectance_scale: float, nodata: float | None) -> Storage | None:
        """The storage in an array's encoding; None where it is stored as it is.

        ``reflectance_scale`` is the reflectance per unit of its values, ``nodata`` what is declared of it in memory.
        Arithmetic in place keeps the encoding of values that it does not fit any more: of DN that have become
        reflectance, all would be stored as 0. So it holds only if a step of it can be a DN, and if it can store nodata.
        """
        dtype = _stored_type(da)
        if not np.issubdtype(dtype, np.integer) or not np.issubdtype(da.dtype, np.floating):
            return None
        if any(key in da.encoding for key in _NOT_WRITTEN):
            return None
        scale = _encoded(da, "scale_factor", "scale", 1.0)
        offset = _encoded(da, "add_offset", "offset", 0.0)
        step = abs(scale * reflectance_scale)
        limits = np.iinfo(dtype)
        if step > _COARSEST_STEP or step * (float(limits.max) - float(limits.min)) < _LEAST_RANGE:
            return None
        fill = da.encoding.get("_FillValue", da.encoding.get("missing_value"))
        if nodata is None and fill is None:
            return cls(str(dtype), scale, offset, fill=NODATA_DN, nodata=NODATA_DN * scale + offset)
        storage = cls(str(dtype), scale, offset, fill=number_in(fill, "_FillValue", "nodata"), nodata=math.nan)
        return storage if nodata is None or math.isnan(nodata) else storage._filled_for(nodata)

    def _filled_for(self, nodata: float) -> Storage | None:
        """Storage for another nodata value; None where the type does not hold it."""
        fill = (nodata - self.offset) / self.scale
        whole = float(np.rint(fill))
        if not abs(fill - whole) < 1e-3 or not _holds(np.dtype(self.dtype), whole):
            return None
        return replace(self, fill=whole, nodata=nodata)

    def fit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values that the type can hold: beyond its range they would wrap around, and beside ``fill`` become nodata."""
        limits = np.iinfo(self.dtype)
        stored = np.clip((values - self.offset) / self.scale, limits.min, limits.max)
        measured = values != values.dtype.type(self.nodata)
        if self.fill is not None:
            beside = self.fill - 1 if self.fill == limits.max else self.fill + 1
            stored = np.where(measured & (np.rint(stored) == self.fill), beside, stored)
        changed = np.abs(stored * self.scale + self.offset - values) > 1e-3 * abs(self.scale)
        fitted: NDArray[Any] = np.where(changed, stored * self.scale + self.offset, values).astype(values.dtype)
        return fitted


def declared_nodata(da: xr.DataArray, argument: float | None) -> float | None:
    """Value that marks a pixel without measurement in memory; None where nothing says so.

    Decided by the argument, the encoding, or what ``rioxarray`` knows: ``set_nodata``, ``_FillValue``,
    ``missing_value``, ``nodata``. Floats that were read from a file with nodata have NaN in its place.

    Raises :class:`UsageError` for an argument that the array's type does not hold.
    """
    integers = np.issubdtype(da.dtype, np.integer)
    if argument is not None:
        nodata = float(argument)
        if integers and not math.isnan(nodata) and not _holds(da.dtype, nodata):
            raise UsageError(f"nodata {nodata:g} is no value of {da.dtype}")
        return nodata
    encoded = number_in(da.encoding.get("_FillValue"), "_FillValue", "nodata")
    if integers and encoded is not None:
        return encoded if _holds(da.dtype, encoded) else None
    for name in ("_FillValue", *NODATA_ATTRIBUTES):
        if np.ndim(da.attrs.get(name, 0)) or np.size(da.attrs.get(name, 0)) != 1:
            # rioxarray takes plain numbers alone.
            return number_in(da.attrs[name], name, "nodata")
    try:
        known = da.rio.nodata
    except (OverflowError, ValueError):
        # A value that the type does not hold: no pixel has it.
        return None
    except TypeError:
        # rioxarray takes plain numbers alone, and floats that were read with nodata have NaN in its place.
        return None if encoded is None else math.nan
    return number_in(known, "nodata", "nodata")


def set_encoding(result: xr.DataArray, da: xr.DataArray, storage: Storage | None, nodata: float | None) -> None:
    """Let the result of an array be written as the array is, with its declared nodata."""
    stored = _stored_type(da)
    if np.issubdtype(da.dtype, np.integer):
        # Integers are stored as they are: a scale in their encoding would be applied to them.
        keys: tuple[str, ...] = ("_FillValue",)
    elif storage is not None or not np.issubdtype(stored, np.integer):
        keys = _STORED
    else:
        keys = ()
    result.encoding.update({key: da.encoding[key] for key in keys if key in da.encoding})
    if nodata is None or math.isnan(nodata):
        return
    if storage is not None:
        result.attrs.pop("_FillValue", None)
        result.encoding["_FillValue"] = np.dtype(storage.dtype).type(storage.fill)
    else:
        holder = result.encoding if "_FillValue" in result.encoding else result.attrs
        holder["_FillValue"] = da.dtype.type(nodata)
    for name in NODATA_ATTRIBUTES:
        if name in result.attrs:
            result.attrs[name] = da.dtype.type(nodata)


def _stored_type(da: xr.DataArray) -> np.dtype[Any]:
    """Type of the array in a file, as its encoding says. Raises :class:`UsageError`."""
    try:
        stored: np.dtype[Any] = np.dtype(da.encoding.get("dtype", da.dtype))
    except TypeError:
        raise UsageError(
            f"the array's encoding has the type {da.encoding['dtype']!r}, which is none: del da.encoding['dtype']"
        ) from None
    return stored


def _encoded(da: xr.DataArray, name: str, argument: str, default: float) -> float:
    number = number_in(da.encoding.get(name), f"the encoding's {name}", argument)
    return default if number is None else number


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Tell whether an integer type has this value."""
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
