"""Uploaded rasters: what is refused by their headers alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geosr.errors import UsageError
from geosr.service.problems import Problem

#: Bytes of one decoded block of an uploaded raster, of all its bands.
_MOST_BLOCK_BYTES = 256 * 2**20

_MOST_BANDS = 64


@dataclass(frozen=True)
class RasterDescription:
    """Description of an upload by its sender, written into the copy that the service keeps and reads."""

    bands: tuple[str, ...] = ()
    """Names of its bands in their order, ``-`` for one to leave out; empty to keep the file's."""
    scale: float | None = None
    offset: float | None = None
    """Reflectance is DN × scale + offset; None to keep the file's."""

    def write(self, path: Path) -> None:
        """Write it into a GeoTIFF. Raises :class:`Problem` where it does not fit."""
        if self == RasterDescription():
            return
        try:
            with rasterio.open(path, "r+", driver="GTiff", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
                if self.bands and len(self.bands) != raster.count:
                    raise Problem(400, f"bands: names {len(self.bands)} bands, and the file has {raster.count}")
                if self.bands:
                    raster.descriptions = self.bands
                # One of the two that is not given is the file's, and 1 or 0 where the file has neither.
                raster.scales = [one if self.scale is None else self.scale for one in raster.scales]
                raster.offsets = [one if self.offset is None else self.offset for one in raster.offsets]
        except RasterioError as error:
            raise Problem(415, "the upload is not a GeoTIFF that can be described anew") from error


def check_raster(path: Path, max_pixels: int) -> None:
    """Refuse what is no GeoTIFF, or would take more memory than it is worth, by its header alone.

    Raises :class:`Problem`.
    """
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver="GTiff") as raster:
            rows, cols = raster.shape
            item = max(np.dtype(dtype).itemsize for dtype in raster.dtypes)
            blocks = [height * width for height, width in raster.block_shapes]
            bands, others = raster.count, [name for name in raster.files if Path(name) != path]
    except (RasterioError, TypeError, ValueError, UsageError) as error:
        raise Problem(415, "the upload is not a GeoTIFF that can be read") from error
    if others:
        raise Problem(415, "the upload refers to other files: send one GeoTIFF that has all its pixels")
    if rows * cols > max_pixels or bands > _MOST_BANDS:
        raise Problem(413, f"the raster has {cols}×{rows} pixels in {bands} bands: up to {max_pixels} pixels are taken")
    if max(blocks) * item * bands > _MOST_BLOCK_BYTES:
        raise Problem(413, "the raster's blocks are too large: write it anew with tiles, gdal_translate -co TILED=YES")
