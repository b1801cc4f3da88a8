"""DN of a raster that are no measurement: declared, given or fixed by the sensor, and what masks say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from catalog.errors import RequestError, SourceError
from catalog.sampling import sample_band
from catalog.sensors import SensorProfile
from catalog.sentinel2 import NODATA_DN


@dataclass(frozen=True)
class Unmeasured:
    """DN of one band that are no measurement."""

    nodata: float | None
    """Value that marks them in a product; None if there is none."""
    also: tuple[float, ...] = ()
    """Others that pixels of the source have."""
    read: tuple[float, ...] = ()
    """All that count when the source is read: not ``nodata`` where that is only what a mask becomes."""


def has_own_mask(raster: DatasetReader, indexes: Sequence[int]) -> bool:
    """Tell whether any of these bands (from 1) has a mask that says more than its nodata value and an alpha band."""
    return any(_has_own_mask(raster, index) for index in indexes)


def unmeasured_in(
    raster: DatasetReader,
    index: int,
    *,
    plain: bool,
    transparent: bool,
    sensor: SensorProfile | None,
    given: float | None,
    told: float | None = None,
) -> Unmeasured:
    """Decide which DN of a band are no measurement.

    Parameters
    ----------
    raster
        The open raster.
    index
        Number of the band, from 1.
    plain
        The raster is a plain image, whose black is a colour.
    transparent
        A mask or an alpha band tells where nothing was measured.
    sensor
        Profile of the instrument; None for Sentinel-2.
    given
        A DN that the user says is no measurement.
    told
        A DN that a STAC Item says is none.

    Raises
    ------
    RequestError
        ``given`` is no value of the raster's type.

    """
    dtype = np.dtype(raster.dtypes[index - 1])
    check_given_nodata(given, dtype)
    # A value that no pixel of the type can have would mark other pixels when it is written.
    values = (raster.nodatavals[index - 1], told, given)
    read = [value for value in values if value is not None and _holds(dtype.name, value)]
    nodata = read[0] if read else None
    if np.issubdtype(dtype, np.floating):
        return Unmeasured(math.nan if nodata is None else nodata, tuple(read[1:]), tuple(read))
    empty = NODATA_DN if sensor is None else sensor.nodata
    if empty is not None and not plain and dtype.itemsize > 1 and _is_empty(raster, index, nodata, float(empty)):
        read.append(float(empty))
    if nodata is None and sensor is None:
        nodata = float(NODATA_DN) if transparent or not plain else None
    elif nodata is None:
        nodata = sensor.nodata if sensor is not None else None
    # Black that is opaque is a colour, unless it is declared to be nodata.
    if nodata is not None and not transparent:
        read.append(nodata)
    read = list(dict.fromkeys(read))
    return Unmeasured(nodata, tuple(value for value in read if value != nodata), tuple(read))


def with_one_nodata(bands: Sequence[Unmeasured], declared: Sequence[float | None], dtype: str) -> list[Unmeasured]:
    """Give bands with nodata values of their own, as in a VRT, the one that a product of all of them has.

    Parameters
    ----------
    bands
        What is no measurement in each band; as it is read, it stays.
    declared
        Nodata that the source declares for each band.
    dtype
        Type of the bands' DN.

    Returns
    -------
    list of Unmeasured
        Bands with the first declared value that is one of the type.

    """
    if len({str(band.nodata) for band in bands}) < 2:
        return list(bands)
    candidates = [value for value in declared if value is not None]
    common = next(value for value in (*candidates, bands[0].nodata, 0.0) if value is not None and _holds(dtype, value))
    return [
        replace(
            band,
            nodata=common,
            also=tuple(value for value in dict.fromkeys((band.nodata, *band.read)) if value not in (None, common)),
        )
        for band in bands
    ]


def _holds(dtype: str, value: float) -> bool:
    """Tell whether a pixel of a type can have a value."""
    if not np.issubdtype(np.dtype(dtype), np.integer):
        return True
    limits = np.iinfo(dtype)
    return math.isfinite(value) and float(value).is_integer() and limits.min <= value <= limits.max


def check_pixel_type(dtype: str, source: str) -> None:
    """Refuse pixel types that are no image's, or that hold more than reflectance is computed with.

    Raises :class:`SourceError`.
    """
    if dtype.startswith("complex"):
        # Some of GDAL's complex types have no counterpart in NumPy.
        raise SourceError(f"{source} holds complex numbers, not an image")
    if dtype == "int8":
        raise SourceError(
            f"{source} holds signed bytes: convert it to 16 bits, gdal_translate -ot Int16 IN.tif OUT.tif"
        )
    if dtype in ("int64", "uint64"):
        raise SourceError(
            f"{source} holds 64-bit integers: convert it to 32 bits, gdal_translate -ot Int32 IN.tif OUT.tif"
        )


def check_given_nodata(given: float | None, dtype: np.dtype[Any]) -> None:
    """Refuse a nodata value that no pixel of an integer type can have.

    Raises :class:`RequestError`.
    """
    if given is None or not np.issubdtype(dtype, np.integer):
        return
    if not _holds(dtype.name, given):
        raise RequestError(f"--nodata {given:.10g} is no value that {dtype} has, so no pixel would be taken out")


def _is_empty(raster: DatasetReader, index: int, declared: float | None, empty: float) -> bool:
    """Tell whether the sensor's own fill is one although the file declares another value.

    Among negative values, as harmonised DN have, 0 is a measurement.
    """
    if declared is None or declared == empty or empty != 0 or np.dtype(raster.dtypes[index - 1]).kind == "u":
        return True
    window = Window(0, 0, raster.width, raster.height)
    dn, valid = sample_band(raster, index, window, masked=False)
    return not bool((dn[valid & (dn != declared)] < 0).any())


def _has_own_mask(raster: DatasetReader, index: int) -> bool:
    flags = raster.mask_flag_enums[index - 1]
    if MaskFlags.all_valid in flags or MaskFlags.alpha in flags:
        return False
    # Nodata of all bands together (NODATA_VALUES) is no band's own.
    return MaskFlags.nodata not in flags or raster.nodatavals[index - 1] is None
