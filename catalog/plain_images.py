"""Plain images: which rasters are some, how its bands are called, and how bright its values are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from catalog import sentinel2
from catalog.errors import SourceError
from catalog.gdal import colours_of
from catalog.radiometry import Radiometry

#: Names of a plain image's bands by their number, when the file does not colour them itself; "?" may be anything.
_PICTURE_BANDS = {1: ("grey",), 2: ("grey", "?"), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "?")}

#: Longest side of the reduced image from which a plain image's range of values is taken, pixels.
_RANGE_SAMPLE_PX = 1024


def is_plain_image(raster: DatasetReader, names: Sequence[str]) -> bool:
    """No place on Earth, and bands that are those of a photograph rather than of an instrument."""
    colours = set(colours_of(raster))
    looks_coloured = {ColorInterp.red, ColorInterp.green, ColorInterp.blue} <= colours or raster.count <= 2
    instrument = any(name in sentinel2.BANDS for name in names)
    return (
        raster.crs is None and raster.transform.is_identity and not instrument and (looks_coloured or raster.count == 3)
    )


def plain_image_names(raster: DatasetReader, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of a plain image's bands: as given when they are an instrument's, by their colours, or by their number.

    Bands that are neither a colour nor alpha are left out ("-"), and notes say so.

    Raises :class:`SourceError` when none of these fits.
    """
    if ColorInterp.palette in colours_of(raster):
        raise SourceError(
            f"{raster.name} holds numbers of a palette's colours: expand them first, gdal_translate -expand rgb IN OUT"
        )
    if raster.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        raise SourceError(
            f"{raster.name} counts brightness from white (MINISWHITE), and would come out as its negative: turn it "
            "round first, gdal_translate -scale 0 255 255 0 IN OUT"
        )
    if any(name in sentinel2.BANDS for name in names):
        return list(names), []
    coloured = [colour.name for colour in colours_of(raster)]
    if {"red", "green", "blue"} <= set(coloured):
        return _told([name if name in ("red", "green", "blue", "alpha") else "-" for name in coloured])
    if raster.count not in _PICTURE_BANDS:
        raise SourceError(
            f"{raster.name} has {raster.count} bands: a plain image has 1 (grey) or 3 (red, green, blue), and alpha"
        )
    guessed = zip(_PICTURE_BANDS[raster.count], coloured, strict=True)
    return _told([name if name != "?" else "alpha" if colour == "alpha" else "-" for name, colour in guessed])


def _told(names: list[str]) -> tuple[list[str], list[str]]:
    """Names with a note for each band that is left out."""
    left_out = [i for i, name in enumerate(names, start=1) if name == "-"]
    return names, [f"band {i} left out: the file does not say that it is a colour or alpha" for i in left_out]


def brightness(raster: DatasetReader) -> Radiometry:
    """Full scale of a plain image: its type's for 8 bits, the bits in use for 16, the range of values for the rest."""
    dtype = np.dtype(raster.dtypes[0])
    if dtype == np.uint8:
        return Radiometry(1 / 255, 0.0, "brightness, full scale 255")
    sample = np.ma.MaskedArray(reduced(raster, list(raster.indexes), masked=True))
    values = sample.compressed().astype(np.float64)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if dtype.kind == "u":
        full = 2 ** max(8, math.ceil(math.log2(high + 1))) - 1 if high > 0 else 255
        return Radiometry(1 / full, 0.0, f"brightness, full scale {full}")
    span = high - low or 1.0
    return Radiometry(1 / span, -low / span, f"brightness between {low:g} and {high:g}")


def reduced(raster: DatasetReader, indexes: list[int], *, masked: bool = False) -> NDArray[Any]:
    """Bands ``(bands, rows, cols)`` at a size that is quick to read, for a look at their values."""
    shrink = max(1.0, max(raster.shape) / _RANGE_SAMPLE_PX)
    shape = tuple(max(1, round(side / shrink)) for side in raster.shape)
    pixels: NDArray[Any] = raster.read(indexes, out_shape=(len(indexes), *shape), masked=masked)
    return pixels
