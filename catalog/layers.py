"""Reading STAC Items straight onto a chunk's grid: one layer per Item, the first that has a pixel gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from catalog.arrays import measured_pixels
from catalog.clouds import unusable
from catalog.errors import SourceError
from catalog.gdal import open_raster
from catalog.paths import without_query
from catalog.resample import Kernel, read_resampled
from catalog.scene import Pixels


@dataclass(frozen=True)
class LayerBand:
    """Where a layer holds one band."""

    path: str
    index: int
    """Band of the raster, from 1."""
    shift_dn: float = 0.0
    """Added to its DN, so that all layers share one radiometry."""
    nodata: float | None = None
    """DN without measurement that the Item declares, besides what the raster itself does."""


@dataclass(frozen=True)
class Layer:
    """One Item, reduced to what reading needs."""

    bands: tuple[LayerBand, ...]
    bounds: tuple[float, float, float, float]
    """West, south, east and north in the scene's CRS."""
    aligned: bool
    """Whether its pixels are those of the scene's grid; others are resampled by cubic convolution."""
    scl: LayerBand | None
    """Its scene classification."""


@dataclass(frozen=True)
class ItemsReader:
    """Reads layers onto one grid; where they overlap the first one that has a pixel gives it."""

    layers: tuple[Layer, ...]
    geobox: GeoBox
    dtype: str
    nodata: float
    clouds_out: bool = False
    """Whether pixels under clouds count as not measured, so that a later layer may give them."""

    def read(self, window: Window) -> Pixels:
        geobox = self.geobox[window.toslices()]
        shape = (len(self.layers[0].bands), window.height, window.width)
        pixels = np.full(shape, self.nodata, dtype=self.dtype)
        valid = np.zeros(shape, dtype=bool)
        for layer in self.layers:
            if valid.all():
                break
            if not _overlap(geobox, layer.bounds):
                continue
            clear = self._clear(layer, window)
            loaded = _load(layer, layer.bands, geobox, self.dtype, self.nodata)
            for band, where in enumerate(layer.bands):
                measured = measured_pixels(loaded[band], [self.nodata, where.nodata])
                new = measured & ~valid[band] & clear
                pixels[band][new] = _shifted(loaded[band][new], where.shift_dn, self.nodata)
                valid[band] |= new
        return pixels, valid

    def select(self, keep: tuple[int, ...]) -> ItemsReader:
        layers = tuple(replace(layer, bands=tuple(layer.bands[i] for i in keep)) for layer in self.layers)
        return replace(self, layers=layers)

    def _clear(self, layer: Layer, window: Window) -> NDArray[np.bool_]:
        if not self.clouds_out:
            return np.ones((window.height, window.width), dtype=bool)
        return ~unusable(LayerClasses(layer, self.geobox), window, self.geobox.shape.yx)


@dataclass(frozen=True)
class LayerClasses:
    """The scene classification of one layer."""

    layer: Layer
    geobox: GeoBox

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        geobox = self.geobox[window.toslices()]
        if self.layer.scl is None or not _overlap(geobox, self.layer.bounds):
            return np.zeros((window.height, window.width), dtype=np.uint8)
        classes: NDArray[np.uint8] = _load(self.layer, (self.layer.scl,), geobox, "uint8", 0)[0]
        return classes


def _load(layer: Layer, bands: Sequence[LayerBand], geobox: GeoBox, dtype: str, nodata: float) -> list[NDArray[Any]]:
    """Bands of a layer on a grid, each from a raster that :func:`open_raster` lets be opened."""
    return [_read(band, layer.aligned or band is layer.scl, geobox, dtype, nodata) for band in bands]


def _read(band: LayerBand, as_it_is: bool, geobox: GeoBox, dtype: str, nodata: float) -> NDArray[Any]:
    kernel: Kernel = "nearest" if as_it_is else "cubic"
    with open_raster(band.path) as raster:
        if band.index > raster.count:
            raise SourceError(f"{without_query(band.path)} has {raster.count} bands, and the Item says {band.index}")
        declared = (raster.nodatavals[band.index - 1], band.nodata)
        pixels: NDArray[Any] = read_resampled(raster, [band.index], geobox, nodata, kernel, source_nodata=declared)[0]
    return _of_type(pixels, np.dtype(dtype))


def _of_type(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pixels in the scene's type, at its limits where they are beyond."""
    if pixels.dtype != dtype and np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(dtype, copy=False)


def _shifted(pixels: NDArray[Any], shift: float, nodata: float) -> NDArray[Any]:
    if shift == 0:
        return pixels
    moved = pixels.astype(np.float64) + shift
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        # A measured pixel must not turn into nodata.
        lowest = limits.min + 1 if nodata == limits.min else limits.min
        moved = np.clip(np.rint(moved), lowest, limits.max)
    return moved.astype(pixels.dtype)


def _overlap(geobox: GeoBox, bounds: tuple[float, float, float, float]) -> bool:
    box = geobox.boundingbox
    west, south, east, north = bounds
    return bool(box.left < east and west < box.right and box.bottom < north and south < box.top)
