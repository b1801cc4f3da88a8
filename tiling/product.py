"""What the output raster holds besides its pixels, and how it is compressed."""

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
    """Where none is declared: value that stands for what was not measured all the same, which overviews leave out."""
    scales: tuple[float, ...] = ()
    """Reflectance per DN, per band; empty to declare none."""
    offsets: tuple[float, ...] = ()
    """Reflectance at DN 0, per band; empty to declare none."""
    colours: tuple[str, ...] = ()
    """GDAL's colour interpretation of each band, as ``Red``; empty to declare none."""
    compression: Compression = "zstd"
    tags: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the file."""

    @property
    def overview_nodata(self) -> float | None:
        """What plays no part in overviews."""
        return self.assumed_nodata if self.nodata is None else self.nodata

    @property
    def bands(self) -> int:
        return len(self.descriptions)

    @property
    def predictor(self) -> int:
        """TIFF's predictor for this type: horizontal differences of integers, byte-split ones of floats."""
        return 3 if np.issubdtype(np.dtype(self.dtype), np.floating) else 2

    def creation_options(self) -> dict[str, Any]:
        """GDAL's options for encoding blocks: the fastest level, which costs a tenth in size."""
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
    """Nodata as one of the numbers of a type, an integer of integers; None where it is none of them, and so no pixel's.

    Compared with a float, every integer would become one first.
    """
    if nodata is None or not np.issubdtype(dtype, np.integer):
        return nodata
    limits = np.iinfo(dtype)
    return int(nodata) if float(nodata).is_integer() and limits.min <= nodata <= limits.max else None


def nearest_non_nodata(nodata: float, dtype: np.dtype[Any]) -> float:
    """The value nearest to nodata that is not nodata: what a measured pixel becomes that would have equalled it."""
    if np.issubdtype(dtype, np.integer):
        return nodata - 1 if nodata == np.iinfo(dtype).max else nodata + 1
    return float(np.nextafter(dtype.type(nodata), dtype.type(np.inf)))
