"""Before/after pictures: the source's pixels beside the result, on the same ground, in the same colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.windows import Window

from tiling import Location, gdal_path

#: Share of pixels that are darker or brighter than the picture shows, percent.
CLIPPED = (1.0, 99.0)

#: Exponent of the display: dark ground is shown brighter, as photographs show it.
GAMMA = 1.8

_GAP_PX = 6
_HEADER_PX = 30
_BACKGROUND = (255, 255, 255)
_INK = (20, 20, 20)


def before_after(
    source: Path,
    results: Sequence[tuple[str, Location]],
    output: Path,
    *,
    crop: Window | None = None,
    bands: Sequence[str] = ("B04", "B03", "B02"),
    enlarge: int = 1,
    caption: str = "",
) -> Path:
    """Draw the source, its pixels repeated, beside results that are four times finer.

    ``crop`` is a window of the source. All panels share one linear stretch, taken from the source, so that a
    difference in colour is a difference in reflectance. ``enlarge`` repeats every result pixel.
    """
    with rasterio.open(source) as raster:
        window = crop or Window(0, 0, raster.width, raster.height)
        low = raster.read(_indexes(raster, bands), window=window).astype(np.float64)
    limits = np.percentile(low[low.max(axis=0, keepdims=True).repeat(len(low), 0) > 0].ravel(), CLIPPED)
    panels: list[tuple[str, NDArray[Any]]] = []
    for title, path in results:
        with rasterio.open(gdal_path(path)) as raster:
            scale = raster.width // _width_of(source)
            fine = Window(*(scale * v for v in (window.col_off, window.row_off, window.width, window.height)))
            high = raster.read(_indexes(raster, bands), window=fine).astype(np.float64)
        if not panels:
            repeated = low.repeat(scale * enlarge, axis=1).repeat(scale * enlarge, axis=2)
            panels.append(("source", stretch(repeated, limits)))
        panels.append((title, stretch(high.repeat(enlarge, axis=1).repeat(enlarge, axis=2), limits)))
    sheet_of(panels, caption).save(output)
    return output


def stretch(pixels: NDArray[np.floating], limits: NDArray[np.floating]) -> NDArray[np.uint8]:
    """``(bands, rows, cols)`` as bytes ``(rows, cols, bands)``: linear between two limits, then the display's gamma."""
    low, high = limits
    share = np.clip((pixels - low) / max(float(high - low), 1e-9), 0, 1) ** (1 / GAMMA)
    shown: NDArray[np.uint8] = np.rint(share * 255).astype(np.uint8).transpose(1, 2, 0)
    return shown


def sheet_of(panels: Sequence[tuple[str, NDArray[np.uint8]]], caption: str = "") -> Image.Image:
    """Pictures ``(rows, cols, 3)`` of one size side by side, each under its title, above a caption."""
    height, width, _ = panels[0][1].shape
    footer = _HEADER_PX if caption else 0
    sheet = Image.new(
        "RGB", (len(panels) * width + (len(panels) - 1) * _GAP_PX, height + _HEADER_PX + footer), _BACKGROUND
    )
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    for i, (title, pixels) in enumerate(panels):
        left = i * (width + _GAP_PX)
        sheet.paste(Image.fromarray(pixels), (left, _HEADER_PX))
        pen.text((left + 4, 6), title, fill=_INK, font=font)
    if caption:
        pen.text((4, height + _HEADER_PX + 6), caption, fill=_INK, font=font)
    return sheet


def _indexes(raster: rasterio.DatasetReader, bands: Sequence[str]) -> list[int]:
    return [raster.descriptions.index(band) + 1 for band in bands]


def _width_of(source: Path) -> int:
    with rasterio.open(source) as raster:
        return int(raster.width)
