"""Reading STAC Items straight onto a chunk's grid: one layer per Item, the first that has a pixel gives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from catalog.arrays import measured_pixels
from catalog.clouds import unusable
from catalog.errors import SourceError
from catalog.gdal import open_raster
from catalog.paths import without_query
from catalog.placing import grid_of_raster
from catalog.resample import read_resampled
from catalog.sampling import BandSample, sample_band
from catalog.scene import Pixels
from catalog.sensors import SensorProfile
from catalog.sentinel2 import NODATA_DN
from catalog.unmeasured import check_pixel_type, has_own_mask, unmeasured_in
from catalog.web import patient


@dataclass(frozen=True)
class LayerBand:
    """Location of one band in a layer."""

    path: str
    index: int
    """Band of the raster, from 1."""
    shift_dn: float = 0.0
    """Added to its DN, so that all layers share one radiometry."""
    nodata: tuple[float, ...] = ()
    """DN without measurement, by the raster and by the Item."""
    masked: bool = False
    """True if the raster's own mask also tells which pixels were measured."""


@dataclass(frozen=True)
class ItemLayer:
    """One Item, reduced to what reading needs."""

    bands: tuple[LayerBand, ...]
    bounds: tuple[float, float, float, float]
    """West, south, east and north in the scene's CRS."""
    aligned: bool
    """True if its pixels are those of the scene's grid; others are resampled by cubic convolution."""
    scl: LayerBand | None
    """Its scene classification."""


def with_nodata(layer: ItemLayer, sensor: SensorProfile | None, given: float | None) -> ItemLayer:
    """The layer with what is no measurement by its rasters, the Item and the sensor; ``given`` is none either.

    Raises :class:`SourceError` for a raster that cannot be opened, or lacks a band.
    """
    return replace(layer, bands=tuple(_with_nodata(band, sensor, given) for band in layer.bands))


@patient
def stored_as(layer: ItemLayer) -> tuple[str, float]:
    """Type of a layer's bands, and the DN of that type that marks pixels without measurement.

    Raises :class:`SourceError` for bands of types that have no common one.
    """
    dtypes = []
    for band in layer.bands:
        with _opened(band) as raster:
            dtypes.append(str(raster.dtypes[band.index - 1]))
            check_pixel_type(dtypes[-1], without_query(band.path))
    kinds = {np.dtype(dtype).kind == "f" for dtype in dtypes}
    common = np.result_type(*dtypes)
    if len(kinds) > 1 or (common.itemsize == 8 and common.kind != "f"):
        raise SourceError(
            f"the bands of {without_query(layer.bands[0].path)} and others are of types without a common one: "
            f"{', '.join(dict.fromkeys(dtypes))}"
        )
    if common.kind == "f":
        return str(common), (*layer.bands[0].nodata, float("nan"))[0]
    limits = np.iinfo(common)
    held = [value for value in layer.bands[0].nodata if value == round(value) and limits.min <= value <= limits.max]
    return str(common), (*held, float(NODATA_DN))[0]


@patient
def _with_nodata(band: LayerBand, sensor: SensorProfile | None, given: float | None) -> LayerBand:
    with _opened(band) as raster:
        alpha = MaskFlags.alpha in raster.mask_flag_enums[band.index - 1]
        own_mask = has_own_mask(raster, [band.index])
        unmeasured = unmeasured_in(
            raster,
            band.index,
            plain=False,
            transparent=alpha or own_mask,
            sensor=sensor,
            given=given,
            told=next(iter(band.nodata), None),
        )
    return replace(band, nodata=unmeasured.read, masked=alpha or own_mask)


@dataclass(frozen=True)
class ItemsReader:
    """Reads layers onto one grid; where they overlap the first one that has a pixel gives it."""

    layers: tuple[ItemLayer, ...]
    geobox: GeoBox
    dtype: str
    nodata: float
    clouds_out: bool = False
    """True if pixels under clouds count as not measured, so that a later layer may supply them."""

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
            for band, where in enumerate(layer.bands):
                loaded, measured = _read(where, layer.aligned, geobox)
                new = measured & ~valid[band] & clear
                pixels[band][new] = _as_scene(loaded[new], where.shift_dn, np.dtype(self.dtype), self.nodata)
                valid[band] |= new
        return pixels, valid

    def sample(self, window: Window) -> list[BandSample]:
        extent = self.geobox[window.toslices()].extent
        layers = [layer for layer in self.layers if _overlap(self.geobox[window.toslices()], layer.bounds)]
        samples = []
        for band in range(len(self.layers[0].bands)):
            parts = [_sample(layer.bands[band], extent, self.dtype) for layer in layers]
            parts = parts or [(np.zeros(0, self.dtype), np.zeros(0, bool))]
            samples.append((np.concatenate([dn for dn, _ in parts]), np.concatenate([valid for _, valid in parts])))
        return samples

    def select(self, keep: tuple[int, ...]) -> ItemsReader:
        layers = tuple(replace(layer, bands=tuple(layer.bands[i] for i in keep)) for layer in self.layers)
        return replace(self, layers=layers)

    def _clear(self, layer: ItemLayer, window: Window) -> NDArray[np.bool_]:
        if not self.clouds_out:
            return np.ones((window.height, window.width), dtype=bool)
        return ~unusable(LayerClasses(layer, self.geobox), window, self.geobox.shape.yx)


@dataclass(frozen=True)
class LayerClasses:
    """The scene classification of one layer."""

    layer: ItemLayer
    geobox: GeoBox

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        geobox = self.geobox[window.toslices()]
        if self.layer.scl is None or not _overlap(geobox, self.layer.bounds):
            return np.zeros((window.height, window.width), dtype=np.uint8)
        classes, known = _read(self.layer.scl, True, geobox)
        return np.where(known, classes, 0).astype(np.uint8)


@patient
def _read(band: LayerBand, as_it_is: bool, geobox: GeoBox) -> Pixels:
    """One band ``(rows, cols)`` on a grid, from a raster that :func:`open_raster` lets be opened."""
    with _opened(band) as raster:
        pixels, valid = read_resampled(
            raster,
            [band.index],
            geobox,
            "nearest" if as_it_is else "cubic",
            nodata=band.nodata,
            masked=band.masked,
        )
    return pixels[0], valid[0]


@patient
def _sample(band: LayerBand, extent: Geometry, dtype: str) -> BandSample:
    """DN of a band, in the radiometry of the scene, from the part of its raster that is in an extent."""
    with _opened(band) as raster:
        own = grid_of_raster(raster)
        if own.crs is None:
            raise SourceError(f"{without_query(band.path)} has no CRS, so nothing tells where its pixels lie")
        rows, cols = own.overlap_roi(own.enclosing(extent.to_crs(own.crs)))
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        dn, valid = sample_band(raster, band.index, window, masked=band.masked)
    valid = valid & measured_pixels(dn, band.nodata)
    if band.shift_dn:
        dn = dn.astype(np.float64) + band.shift_dn
    return (dn if dn.dtype == np.dtype(dtype) else _of_type(dn, np.dtype(dtype))), valid


@contextmanager
def _opened(band: LayerBand) -> Iterator[DatasetReader]:
    with open_raster(band.path) as raster:
        if band.index > raster.count:
            raise SourceError(f"{without_query(band.path)} has {raster.count} bands, and the Item says {band.index}")
        yield raster


def _as_scene(pixels: NDArray[Any], shift_dn: float, dtype: np.dtype[Any], nodata: float) -> NDArray[Any]:
    """Measured pixels in the scene's radiometry and type, none of which turns into nodata."""
    if shift_dn:
        pixels = pixels.astype(np.float64) + shift_dn
    pixels = _of_type(pixels, dtype)
    clash = pixels == nodata
    if np.issubdtype(dtype, np.integer) and clash.any():
        pixels[clash] = nodata - 1 if nodata == np.iinfo(dtype).max else nodata + 1
    return pixels


def _of_type(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pixels in the scene's type, at its limits where they are beyond."""
    if pixels.dtype != dtype and np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(dtype, copy=False)


def _overlap(geobox: GeoBox, bounds: tuple[float, float, float, float]) -> bool:
    box = geobox.boundingbox
    west, south, east, north = bounds
    return bool(box.left < east and west < box.right and box.bottom < north and south < box.top)
