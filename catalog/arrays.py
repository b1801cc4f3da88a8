"""Bands, radiometry and validity of arrays that a program already holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import radiometry, sentinel2
from catalog.errors import SourceError
from catalog.scene import BandSpec

#: Floats as large as this are some tool's undeclared nodata, as is the lowest 32-bit float.
_ABSURD = 1e30

#: Typical reflectance above this is none: the values are DN whose scale was forgotten.
_IMPLAUSIBLE = 3.0


def band_specs(
    names: Sequence[str], dtype: str, *, scale: float | None, offset: float | None, nodata: float | None
) -> tuple[BandSpec, ...]:
    """The bands of an array; what is not given is decided as for a raster without scale and offset.

    Raises :class:`catalog.errors.RadiometryError`.
    """
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


def validity(pixels: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Which pixels of ``(bands, rows, cols)`` were measured: not their band's nodata, not NaN, infinite or absurd."""
    valid = np.ones(pixels.shape, dtype=bool)
    for i, value in enumerate(nodata):
        if value is not None and not math.isnan(value):
            valid[i] = _unlike(pixels[i], value)
    if np.issubdtype(pixels.dtype, np.floating):
        valid &= np.abs(pixels) < _ABSURD
    return valid


def measured_pixels(pixels: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """As :func:`validity`, where each of several values stands for no measurement, in all bands."""
    valid = validity(pixels, ())
    for value in nodata:
        if value is not None and not math.isnan(value):
            valid &= _unlike(pixels, value)
    return valid


def _unlike(pixels: NDArray[Any], value: float) -> NDArray[np.bool_] | np.bool_:
    """Which pixels are not a value. Compared with a float, every integer would become one first."""
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        if not (float(value).is_integer() and limits.min <= value <= limits.max):
            return np.True_
        value = int(value)
    unlike: NDArray[np.bool_] = pixels != value
    return unlike


def check_plausible(pixels: NDArray[Any], valid: NDArray[np.bool_], scale: float, what: str) -> None:
    """Refuse floats taken as reflectance that can only be DN.

    Raises :class:`SourceError`.
    """
    if scale != 1.0 or not np.issubdtype(pixels.dtype, np.floating) or not valid.any():
        return
    typical = float(np.median(np.abs(pixels[valid])))
    if typical > _IMPLAUSIBLE:
        raise SourceError(
            f"{what} holds floats around {typical:.0f}, not reflectance between 0 and 1: "
            "give the scale (0.0001 for Sentinel-2's DN)"
        )
