"""Bands, radiometry and validity of arrays that a program already holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import radiometry, sentinel2
from catalog.errors import RadiometryError, SourceError
from catalog.scene import BandSpec

#: Floats as large as this are some tool's undeclared nodata, as is the lowest 32-bit float.
_ABSURD = 1e30


def band_specs(
    names: Sequence[str], dtype: str, *, scale: float | None, offset: float | None, nodata: float | None
) -> tuple[BandSpec, ...]:
    """The bands of an array; what is not given is decided as for a raster without scale and offset.

    Raises :class:`catalog.errors.RadiometryError`.
    """
    check_array_type(dtype)
    if scale is None and np.dtype(dtype).itemsize == 1:
        raise RadiometryError(
            f"{dtype} values without a scale are brightness, not reflectance: give scale, as scale=1/255"
        )
    for name, number in (("scale", scale), ("offset", offset)):
        if number is not None and not (math.isfinite(number) and (number or name == "offset")):
            raise RadiometryError(
                f"the array's {name} {number:g} does not make reflectance: give scale and offset, finite numbers and a "
                "scale other than 0"
            )
    fallback = None if scale is not None else radiometry.of_raster(dtype, 1.0, 0.0)
    decided = radiometry.override(scale, offset, fallback)
    if nodata is None:
        nodata = math.nan if dtype.startswith("float") else float(sentinel2.NODATA_DN)
    specs = []
    for text in names:
        name = sentinel2.band_name(text) or text
        band = sentinel2.BANDS.get(name)
        specs.append(
            BandSpec(
                name=name,
                gsd_m=None,
                scale=decided.scale,
                offset=decided.offset,
                nodata=nodata,
                mtf_nyquist=band.mtf_nyquist if band else None,
                description=text,
            )
        )
    return tuple(specs)


def check_array_type(dtype: str) -> None:
    """Refuse types of values that are no image's.

    Raises :class:`catalog.errors.SourceError`.
    """
    kind, bits = np.dtype(dtype).kind, 8 * np.dtype(dtype).itemsize
    if kind in "iu" and bits == 64:
        raise SourceError("the array holds 64-bit integers: convert it to 32 bits, da.astype('int32')")
    if kind not in "iuf" or (kind == "i" and bits == 8):
        raise SourceError(f"the array holds {dtype}, not an image's values: convert it, da.astype('float32')")


def validity(pixels: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Find the measured pixels of ``(bands, rows, cols)``: not their band's nodata, not NaN, infinite or absurd."""
    return unlike_any(pixels, [() if value is None else (value,) for value in nodata])


def unlike_any(pixels: NDArray[Any], nodata: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Find the measured pixels as :func:`validity`, with any number of nodata values for each band."""
    valid = np.ones(pixels.shape, dtype=bool)
    for i, values in enumerate(nodata):
        for j, value in enumerate(v for v in values if not math.isnan(v)):
            # The first is written in one pass, as most bands have no other.
            valid[i] = _unlike(pixels[i], value) if j == 0 else valid[i] & _unlike(pixels[i], value)
    if np.issubdtype(pixels.dtype, np.floating):
        valid &= np.abs(pixels) < _ABSURD
    return valid


def measured_pixels(pixels: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Find the measured pixels as :func:`validity`, with several nodata values that hold for all bands."""
    valid = validity(pixels, ())
    for value in nodata:
        if value is not None and not math.isnan(value):
            valid &= _unlike(pixels, value)
    return valid


def _unlike(pixels: NDArray[Any], value: float) -> NDArray[np.bool_] | np.bool_:
    """Find pixels that are not a value. Compared with a float, every integer would become one first."""
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        if not (float(value).is_integer() and limits.min <= value <= limits.max):
            return np.True_
        value = int(value)
    unlike: NDArray[np.bool_] = pixels != value
    return unlike
