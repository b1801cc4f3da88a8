"""Contents of an output raster besides its pixels, and its compression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Compression = Literal["zstd", "deflate"]

#: Side of the tiles of every file written here, pixels.
BLOCK_PX = 512


@dataclass(frozen=True)
class Product:
    """Type, bands and tags of a raster."""

    dtype: str
    """NumPy name of the pixel type."""
    descriptions: tuple[str, ...]
    """One per band; empty where the source had none."""
    nodata: float | None = None
    """Value declared as nodata, NaN included."""
    assumed_nodata: float | None = None
    """Value that overviews ignore although it is not declared as nodata."""
    scales: tuple[float, ...] = ()
    """Reflectance per DN, per band; empty to declare none."""
    offsets: tuple[float, ...] = ()
    """Reflectance at DN 0, per band; empty to declare none."""
    colours: tuple[str, ...] = ()
    """GDAL's colour interpretation of each band, as ``Red``; empty to declare none."""
    compression: Compression = "zstd"
    """Compression of the blocks."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the file."""

    @property
    def overview_nodata(self) -> float | None:
        """Value of the pixels that overviews ignore."""
        return self.assumed_nodata if self.nodata is None else self.nodata

    @property
    def bands(self) -> int:
        return len(self.descriptions)

    @property
    def predictor(self) -> int:
        """TIFF's predictor for this type: horizontal differences of integers, byte-split ones of floats."""
        return 3 if np.issubdtype(np.dtype(self.dtype), np.floating) else 2

    def creation_options(self) -> dict[str, Any]:
        """Build GDAL's creation options for the blocks.

        Compression uses the fastest level, which costs a tenth in size.

        Returns
        -------
        dict[str, Any]
            Options by name.

        """
        level = {"zstd": {"zstd_level": 1}, "deflate": {"zlevel": 1}}[self.compression]
        return {
            "tiled": True,
            "interleave": "pixel",
            "endianness": "little",
            "blockxsize": BLOCK_PX,
            "blockysize": BLOCK_PX,
            "compress": self.compression,
            "predictor": self.predictor,
            **level,
        }


def nodata_as(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """Express a nodata value in a pixel type.

    Parameters
    ----------
    nodata
        Declared value, or None.
    dtype
        Pixel type.

    Returns
    -------
    float | None
        An int for integer types. None if the type cannot hold the value, so that no pixel can equal it. Comparing
        integers with a float would convert every integer first.

    Examples
    --------
    >>> nodata_as(0.0, np.dtype("uint16"))
    0
    >>> nodata_as(-9999, np.dtype("uint16")) is None
    True

    """
    if nodata is None or not np.issubdtype(dtype, np.integer):
        return nodata
    limits = np.iinfo(dtype)
    return int(nodata) if float(nodata).is_integer() and limits.min <= nodata <= limits.max else None


def nearest_non_nodata(nodata: float, dtype: np.dtype[Any]) -> float:
    """Return the value nearest to nodata that is not nodata.

    A measured pixel whose result equals nodata takes this value.

    Parameters
    ----------
    nodata
        Nodata value, one of the type's numbers.
    dtype
        Pixel type.

    Returns
    -------
    float
        The next larger value; for the largest integer the next smaller one.

    Examples
    --------
    >>> nearest_non_nodata(0, np.dtype("uint16"))
    1
    >>> nearest_non_nodata(255, np.dtype("uint8"))
    254

    """
    if np.issubdtype(dtype, np.integer):
        return nodata - 1 if nodata == np.iinfo(dtype).max else nodata + 1
    return float(np.nextafter(dtype.type(nodata), dtype.type(np.inf)))
