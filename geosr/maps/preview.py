"""Pictures of a raster: a PNG of at most some size, and an 8-bit Cloud-Optimized GeoTIFF of full size."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rasterio.enums import ColorInterp

import tiling
from catalog.gdal import open_raster
from geosr.maps.palettes import PALETTES
from geosr.maps.raster import MapRaster, Shown, read_pixels, read_shown
from geosr.maps.stretch import Stretch
from tiling import BLOCK_PX, Location

#: Longest side of a preview, pixels.
LONGEST_PX = 1024

#: Names of metadata by which previews and 8-bit images say what they show, and how.
SHOWS, STRETCH = "GEOSR_SHOWS", "GEOSR_STRETCH"

_COLOURS = {1: (ColorInterp.gray,), 3: (ColorInterp.red, ColorInterp.green, ColorInterp.blue)}

_COPY_BYTES = 2**20


def preview_png(
    raster: MapRaster,
    *,
    bands: str | None = None,
    index: str | None = None,
    stretch: Stretch | None = None,
    longest_px: int = LONGEST_PX,
) -> bytes:
    """Draw a raster as a PNG, clear where nothing was measured; an index in the colours of its palette."""
    info = PngInfo()
    info.add_text(SHOWS, Path(raster.path).name)
    if index is not None:
        numbers = raster.index(index)
        palette = PALETTES[index]
        shown = read_shown(raster.path, numbers, longest_px)
        colours = palette(normalised_difference(raster, numbers, shown))
        info.add_text(STRETCH, f"{palette.title} {palette.low:g} to {palette.high:g}")
    else:
        numbers = raster.shown(bands)
        shown = read_shown(raster.path, numbers, longest_px)
        stretch = stretch or Stretch.measured(shown)
        colours = stretch(shown)
        info.add_text(STRETCH, str(stretch))
    if len(colours) == 1:
        colours = colours.repeat(3, axis=0)
    alpha = np.where(shown.valid, 255, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([*colours, alpha])).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def normalised_difference(raster: MapRaster, numbers: tuple[int, ...], shown: Shown) -> NDArray[np.float32]:
    """Normalised difference of two bands' reflectance, ``(rows, cols)``; 0 where both are 0."""
    first, second = (
        np.clip(pixels * raster.scales[number - 1] + raster.offsets[number - 1], 0, None)
        for number, pixels in zip(numbers, shown.pixels, strict=True)
    )
    total = first + second
    index: NDArray[np.float32] = np.where(total > 0, (first - second) / np.maximum(total, 1e-9), 0).astype(np.float32)
    return index


def write_rgb8(raster: MapRaster, output: Location) -> None:
    """Write an 8-bit RGB COG of full size, which any viewer shows.

    Raises :class:`catalog.CatalogError` or :class:`tiling.OutputError`.
    """
    numbers = raster.shown()
    stretch = Stretch.measured(read_shown(raster.path, numbers, LONGEST_PX))
    # Beside the output where that is on a disk: the system's folder for temporary files may be small.
    folder = output.parent if isinstance(output, Path) else None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".rgb8-") as work:
        plain, cog = Path(work) / "plain.tif", Path(work) / "cog.tif"
        with open_raster(raster.path) as source:
            profile = {
                "driver": "GTiff",
                "dtype": "uint8",
                "count": len(numbers),
                "height": source.height,
                "width": source.width,
                "crs": source.crs,
                "transform": source.transform,
                "nodata": 0,
                "tiled": True,
                "blockxsize": BLOCK_PX,
                "blockysize": BLOCK_PX,
                "interleave": "pixel",
                "compress": "deflate",
                "zlevel": 1,
                "bigtiff": "if_safer",
            }
            with rasterio.open(plain, "w", **profile) as target:
                for _, window in source.block_windows(1):
                    target.write(stretch(read_pixels(source, numbers, window=window)), window=window)
                target.colorinterp = _COLOURS[len(numbers)]
                target.descriptions = tuple(raster.names[number - 1] for number in numbers)
                target.update_tags(**{SHOWS: Path(raster.path).name, STRETCH: str(stretch)})
        with rasterio.Env():
            rasterio.shutil.copy(
                plain, cog, driver="COG", compress="DEFLATE", predictor="YES", blocksize=BLOCK_PX, bigtiff="IF_SAFER"
            )
        tiling.write(output, _parts_of(cog))


def _parts_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_COPY_BYTES):
            yield part
