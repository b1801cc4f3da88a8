"""Chunk files: one small GeoTIFF for each finished chunk, in place only when it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from tiling.atomic import replacing
from tiling.errors import OutputError
from tiling.product import Product


def write_chunk(
    path: Path, pixels: NDArray[np.generic], geobox: GeoBox, product: Product, tags: Mapping[str, str]
) -> None:
    """Write ``(bands, rows, cols)`` on ``geobox``; ``tags`` travel with the pixels.

    The file is encoded in memory and written in one go, so that a full disk is seen by us and not inside GDAL.

    Raises :class:`tiling.errors.DiskFullError` or :class:`tiling.errors.OutputError`.
    """
    bands, rows, cols = pixels.shape
    with rasterio.Env(), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype=product.dtype,
            count=bands,
            height=rows,
            width=cols,
            crs=geobox.crs,
            transform=geobox.affine,
            **product.creation_options(),
        ) as raster:
            raster.write(pixels)
            raster.update_tags(**tags)
        content = memory.read()
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_chunk_tags(path: Path) -> dict[str, str]:
    """The tags that :func:`write_chunk` was given.

    Raises :class:`tiling.errors.OutputError` for a damaged file.
    """
    try:
        with rasterio.Env(), rasterio.open(path) as raster:
            return dict(raster.tags())
    except RasterioError as error:
        raise OutputError(f"the chunk file {path} is damaged: the same command computes it anew") from error
