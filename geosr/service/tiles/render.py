"""Pixels of a scene as pictures on a web map's tiles: warped, combined, stretched, and encoded."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import morecantile
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject

from geosr.service.problems import Problem
from geosr.service.tiles.titiler_import import cmap

#: Reflectance is shown with the display's gamma.
_GAMMA = 1 / 1.8

_TMS = morecantile.tms.get("WebMercatorQuad")

WEB_MERCATOR = "EPSG:3857"


@dataclass(frozen=True)
class Combination:
    """Combination of a scene's bands."""

    title: str
    bands: tuple[str, ...]
    index: bool = False
    """True for the normalised difference of two bands; else three of them are shown, or one in grey."""
    colormap: str = ""
    change_colormap: str = ""
    """Colours of its difference between two dates, from less to more."""


COMBINATIONS: Mapping[str, Combination] = {
    "true-colour": Combination("True colour", ("B04", "B03", "B02")),
    "false-colour": Combination("False colour, near infrared", ("B08", "B04", "B03")),
    "ndvi": Combination("Vegetation, NDVI", ("B08", "B04"), index=True, colormap="rdylgn", change_colormap="brbg"),
    "ndwi": Combination("Water, NDWI", ("B03", "B08"), index=True, colormap="rdylbu", change_colormap="rdbu"),
}

#: Half-widths are shown in this range of reflectance by default.
HALF_WIDTH_RANGE = (0.0, 0.05)
HALF_WIDTH_COLORMAP = "magma"


def combination_of(name: str, available: Sequence[str]) -> Combination:
    """A combination by its name, or by one or three bands as ``B08`` or ``B08,B04,B03``. Raises :class:`Problem`."""
    known = COMBINATIONS.get(name)
    combination = known or Combination(name, tuple(part.strip() for part in name.split(",")))
    missing = [band for band in combination.bands if band not in available]
    if missing or len(combination.bands) not in ((2,) if combination.index else (1, 3)):
        raise Problem(
            404,
            f"bands: {name} is not {', '.join(COMBINATIONS)}, nor one or three of the scene's {', '.join(available)}",
        )
    return combination


@dataclass(frozen=True)
class TileGrid:
    """A tile's pixels."""

    z: int
    x: int
    y: int
    side_px: int

    def __post_init__(self) -> None:
        most = 2**self.z if 0 <= self.z <= 24 else 0
        if not (0 <= self.x < most and 0 <= self.y < most):
            raise Problem(404, f"there is no tile {self.z}/{self.x}/{self.y}")

    @property
    def geobox(self) -> GeoBox:
        """Their grid."""
        bounds = _TMS.xy_bounds(morecantile.Tile(self.x, self.y, self.z))
        return GeoBox((self.side_px, self.side_px), from_bounds(*bounds, self.side_px, self.side_px), WEB_MERCATOR)


def ground_px_m(grid: TileGrid, latitude: float) -> float:
    """Size of a tile's pixels on the ground, metres: Mercator's are larger than that away from the equator."""
    return float(grid.geobox.resolution.x) * math.cos(math.radians(latitude))


def warp(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], source: GeoBox, grid: TileGrid, magnification: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``(bands, rows, cols)`` on a tile's pixels, and which of them were measured in all bands.

    Enlarged twice or more, pixels are shown as they are; reduced, they are averaged.
    """
    how = (
        Resampling.nearest
        if magnification >= 2
        else Resampling.average
        if magnification < 0.67
        else Resampling.bilinear
    )
    known = np.where(valid.all(axis=0), pixels, np.nan).astype(np.float32)
    out = np.full((len(pixels), grid.side_px, grid.side_px), np.nan, dtype=np.float32)
    reproject(
        known,
        out,
        src_transform=source.affine,
        src_crs=str(source.crs),
        src_nodata=np.nan,
        dst_transform=grid.geobox.affine,
        dst_crs=WEB_MERCATOR,
        dst_nodata=np.nan,
        resampling=how,
    )
    there = np.asarray(np.isfinite(out).all(axis=0))
    out[:, ~there] = 0
    return out, there


def normalised_difference(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalised difference of two bands' reflectance, ``(2, rows, cols)`` to ``(1, rows, cols)``; 0 where both are."""
    # Below 0 is noise about it.
    first, second = np.clip(pixels, 0, None)
    total = first + second
    difference: NDArray[np.float32] = np.where(total > 0, (first - second) / np.maximum(total, 1e-6), 0)
    return difference[None].astype(np.float32)


def encode_tile(
    pixels: NDArray[np.float32],
    there: NDArray[np.bool_],
    limits: Sequence[tuple[float, float]],
    *,
    colormap: str = "",
) -> bytes:
    """A PNG of ``(bands, rows, cols)`` between ``limits``, one pair for each band, clear where nothing is there.

    Three bands are colours; one is grey, or by a ``colormap``.
    """
    low, high = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in zip(*limits, strict=True))
    share = np.clip((pixels - low) / np.maximum(high - low, 1e-9), 0, 1)
    if colormap:
        colours = _table(colormap)[np.rint(share[0] * 255).astype(np.uint8)]
    else:
        colours = np.rint(share**_GAMMA * 255).astype(np.uint8).transpose(1, 2, 0)
        if colours.shape[2] == 1:
            colours = colours.repeat(3, axis=2)
    alpha = np.where(there, 255, 0).astype(np.uint8)[..., None]
    return _png(np.concatenate([colours, alpha], axis=2))


@lru_cache(maxsize=8)
def empty_tile(side_px: int) -> bytes:
    """A PNG in which nothing is there."""
    return _png(np.zeros((side_px, side_px, 4), dtype=np.uint8))


def legend(colormap: str, steps: int = 9) -> list[str]:
    """A colormap's colours from its lower end to its upper, as CSS has them."""
    table = _table(colormap)
    return ["#{:02x}{:02x}{:02x}".format(*table[round(i * 255 / (steps - 1))]) for i in range(steps)]


@lru_cache(maxsize=8)
def _table(colormap: str) -> NDArray[np.uint8]:
    colours: Any = cmap.get(colormap)
    return np.array([colours[i][:3] for i in range(256)], dtype=np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(stream, "PNG", compress_level=1)
    return stream.getvalue()
