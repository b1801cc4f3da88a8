"""One scene from STAC Items: the Items of an overpass side by side, read straight onto the grid of a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import odc.stac
import pystac
import shapely
from numpy.typing import NDArray
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from catalog import radiometry, sentinel2
from catalog.area import project, spans_utm_zones, utm_crs, window_of
from catalog.clouds import mask_clouds
from catalog.errors import AreaError, SourceError
from catalog.gdal import is_remote, open_raster, read_error
from catalog.items import Candidate, candidate, clear_share, footprint, local_path, overpasses
from catalog.raster import raster_identity
from catalog.scene import BandSpec, Pixels, Scene

_SCL_KEYS = ("scl", "SCL", "SCL_20m")


@dataclass(frozen=True)
class Layer:
    """One Item, reduced to what reading needs."""

    item: dict[str, Any]
    """The Item as JSON, with the assets used and absolute addresses."""
    bands: tuple[str, ...]
    """How ``odc.stac`` calls each band."""
    shift_dn: tuple[float, ...]
    """Added to the DN of each band, so that all layers share one radiometry."""
    bounds: tuple[float, float, float, float]
    """West, south, east and north in the scene's CRS."""
    aligned: bool
    """Whether its pixels are those of the scene's grid; others are resampled by cubic convolution."""
    scl: str | None
    """Key of its scene classification."""


@dataclass(frozen=True)
class ItemsReader:
    """Reads layers onto one grid; where they overlap the first one that has a pixel gives it."""

    layers: tuple[Layer, ...]
    geobox: GeoBox
    dtype: str
    nodata: float

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
            loaded = _load(layer, layer.bands, geobox, "nearest" if layer.aligned else "cubic", self.dtype, self.nodata)
            for band, shift in enumerate(layer.shift_dn):
                new = (loaded[band] != self.nodata) & ~valid[band]
                pixels[band][new] = _shifted(loaded[band][new], shift, self.nodata)
                valid[band] |= new
        return pixels, valid

    def select(self, keep: tuple[int, ...]) -> ItemsReader:
        layers = tuple(
            replace(
                layer,
                bands=tuple(layer.bands[i] for i in keep),
                shift_dn=tuple(layer.shift_dn[i] for i in keep),
            )
            for layer in self.layers
        )
        return replace(self, layers=layers)


@dataclass(frozen=True)
class ItemClasses:
    """Reads the scene classification of the same layers."""

    layers: tuple[Layer, ...]
    geobox: GeoBox

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        geobox = self.geobox[window.toslices()]
        classes = np.zeros(geobox.shape.yx, dtype=np.uint8)
        for layer in self.layers:
            if layer.scl is not None and _overlap(geobox, layer.bounds):
                loaded = _load(layer, (layer.scl,), geobox, "nearest", "uint8", 0)[0]
                classes = np.where(classes == 0, loaded, classes)
        return classes


def scene_of_items(
    items: Sequence[pystac.Item],
    bands: Sequence[str],
    *,
    area: BaseGeometry | None = None,
    fill: bool = False,
    clouds_out: bool = False,
    crs: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Scene:
    """One scene of ``bands`` from Items.

    Of several overpasses the one with the largest clear share of ``area`` is taken, the latest of equal ones; the
    others fill its gaps only when ``fill`` is set, clearest first. Without an area the whole Item is the scene.

    Raises :class:`SourceError`, :class:`AreaError` or :class:`catalog.errors.RadiometryError`.
    """
    candidates = [candidate(item, bands) for item in items]
    if scale is not None or offset is not None:
        candidates = [_override(one, scale, offset) for one in candidates]
    notes: list[str] = []
    target = _target_crs(candidates, area, crs, notes)
    chosen = _choose(candidates, area, target, fill, notes)
    geobox = _common_grid(chosen, target, notes)
    window = Window(0, 0, geobox.shape.x, geobox.shape.y)
    if area is not None:
        window = window_of(area, geobox, "the Items found")
    lead = chosen[0]
    dtype = _dtype_of(lead)
    layers = tuple(_layer(one, lead, geobox, target) for one in chosen)
    scene = Scene(
        id="-".join(dict.fromkeys(one.item.id for one in chosen))
        if len(chosen) <= 2
        else f"{lead.item.id}-and-{len(chosen) - 1}",
        bands=tuple(_band_spec(lead, i, name) for i, name in enumerate(bands)),
        geobox=geobox,
        area=window,
        dtype=dtype,
        reader=ItemsReader(layers, geobox, dtype, float(sentinel2.NODATA_DN)),
        radiometry=tuple(asset.radiometry.reason for asset in lead.assets),
        identity={"items": [_identity(one) for one in chosen]},
        datetime=lead.datetime,
        nodata_declared=True,
        scaled=True,
        sources=tuple(one.item.get_self_href() or one.item.id for one in chosen),
        files=tuple(file for one in chosen for file in _files(one)),
        notes=tuple(notes),
        properties={
            key: lead.item.properties[key]
            for key in ("platform", "constellation", "instruments", "eo:cloud_cover")
            if key in lead.item.properties
        },
    )
    if not clouds_out:
        return scene
    lacking = [one.item.id for one, layer in zip(chosen, layers, strict=True) if layer.scl is None]
    if lacking:
        raise SourceError(f"clouds cannot be masked: {', '.join(lacking)} has no scene classification (SCL)")
    return mask_clouds(scene, ItemClasses(layers, geobox))


def _target_crs(candidates: Sequence[Candidate], area: BaseGeometry | None, crs: str | None, notes: list[str]) -> CRS:
    if crs is not None:
        try:
            return CRS(crs)
        except CRSError as error:
            raise AreaError(f"not a CRS: {crs!r}; give one as EPSG:32633") from error
    available = {one.crs for one in candidates}
    if area is None or len(available) == 1:
        return candidates[0].crs
    centre = utm_crs(area)
    if spans_utm_zones(area):
        notes.append(
            f"the area spans UTM zones: all of it is put in that of its centre, {centre}, and the rest resampled"
        )
        return centre
    return centre if centre in available else candidates[0].crs


def _choose(
    candidates: Sequence[Candidate], area: BaseGeometry | None, crs: CRS, fill: bool, notes: list[str]
) -> list[Candidate]:
    groups = overpasses(candidates)
    if area is None:
        return groups[0]
    wanted = project(area, crs)
    shares = [clear_share(group, wanted, crs) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: (-round(shares[i][1], 3), i))
    order = [i for i in order if shares[i][0] > 0]
    if not order:
        raise AreaError("the Items found do not touch the area: their footprints end before it")
    used = order if fill else order[:1]
    chosen: list[Candidate] = []
    for i in used:
        group = [one for one in groups[i] if footprint(one, crs).intersects(wanted)]
        chosen += _without_other_zones(group, wanted, crs)
    covered = shapely.union_all([footprint(one, crs) for one in chosen]).intersection(wanted).area / wanted.area
    best = groups[order[0]][0]
    if len(order) > 1:
        others = "their pixels fill its gaps" if fill else "--fill would fill gaps from them"
        notes.append(f"overpass of {best.datetime:%Y-%m-%d %H:%M} taken as the clearest of {len(order)}; {others}")
    if covered < 0.999:
        notes.append(f"the Items cover {100 * covered:.0f} % of the area; the rest is nodata")
    return chosen


def _without_other_zones(group: list[Candidate], area: BaseGeometry, crs: CRS) -> list[Candidate]:
    """Leave Items of other zones out where those of this one cover the area by themselves."""
    own = [one for one in group if one.crs == crs]
    if own and shapely.union_all([footprint(one, crs) for one in own]).buffer(1e-6).covers(area):
        return own
    return own + [one for one in group if one.crs != crs]


def _common_grid(chosen: Sequence[Candidate], crs: CRS, notes: list[str]) -> GeoBox:
    """The grid of the first Item in this CRS, extended over all Items."""
    native = next((one.grid for one in chosen if one.crs == crs), None)
    if native is None:
        native = chosen[0].grid.to_crs(crs)
    others = [one.item.id for one in chosen if not _aligned(one.grid, native)]
    if others:
        notes.append(f"resampled (cubic) onto the grid of {native.crs}: {', '.join(others)}")
    extents = [Geometry(one.grid.extent.geom, one.crs).to_crs(crs).geom for one in chosen]
    # A hair's breadth less than the union, so that rounding does not add a row of pixels.
    union = shapely.union_all(extents).buffer(-1e-6 * abs(native.resolution.x), join_style="mitre")
    return native.enclosing(Geometry(union, crs))


def _aligned(grid: GeoBox, other: GeoBox) -> bool:
    if grid.crs != other.crs or grid.resolution != other.resolution:
        return False
    cols, rows = (~other.affine) * (grid.affine.c, grid.affine.f)
    return bool(abs(cols - round(cols)) < 1e-6 and abs(rows - round(rows)) < 1e-6)


def _layer(one: Candidate, lead: Candidate, geobox: GeoBox, crs: CRS) -> Layer:
    scl = next((key for key in _SCL_KEYS if key in one.item.assets), None)
    item = one.item.clone()
    keys = {asset.key for asset in one.assets} | ({scl} if scl else set())
    item.assets = {key: asset for key, asset in item.assets.items() if key in keys}
    for asset in item.assets.values():
        asset.href = local_path(asset.href)
    item.clear_links()
    extent = Geometry(one.grid.extent.geom, one.crs).to_crs(crs)
    if any(a.radiometry.scale != b.radiometry.scale for a, b in zip(one.assets, lead.assets, strict=True)):
        raise SourceError(f"Items {one.item.id} and {lead.item.id} have different scales: process them by themselves")
    shifts = tuple(
        (own.radiometry.offset - leading.radiometry.offset) / leading.radiometry.scale
        for own, leading in zip(one.assets, lead.assets, strict=True)
    )
    return Layer(
        item=item.to_dict(include_self_link=False, transform_hrefs=False),
        bands=tuple(asset.key if asset.bands == 1 else f"{asset.key}.{asset.index}" for asset in one.assets),
        shift_dn=shifts,
        bounds=extent.boundingbox.bbox,
        aligned=_aligned(one.grid, geobox),
        scl=scl,
    )


def _load(
    layer: Layer, bands: Sequence[str], geobox: GeoBox, resampling: str, dtype: str, nodata: float
) -> list[NDArray[Any]]:
    item = pystac.Item.from_dict(layer.item, preserve_dict=True)
    try:
        loaded = odc.stac.load(
            [item], bands=list(bands), geobox=geobox, groupby="id", resampling=resampling, dtype=dtype, nodata=nodata
        )
    except (RasterioError, OSError, ValueError) as error:
        href = next((asset.href for asset in item.assets.values() if is_remote(asset.href)), f"Item {item.id}")
        raise read_error(href, error) from error
    return [loaded[band].values[0] for band in bands]


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


def _dtype_of(lead: Candidate) -> str:
    with open_raster(lead.href(lead.assets[0])) as raster:
        return str(raster.dtypes[0])


def _band_spec(lead: Candidate, i: int, name: str) -> BandSpec:
    band = sentinel2.BANDS.get(name)
    values = lead.assets[i].radiometry
    return BandSpec(
        name=name,
        gsd_m=band.gsd_m if band else None,
        scale=values.scale,
        offset=values.offset,
        nodata=float(sentinel2.NODATA_DN),
        mtf_nyquist=band.mtf_nyquist if band else None,
        description=name,
    )


def _files(one: Candidate) -> list[str]:
    addresses = [one.href(asset) for asset in one.assets]
    own = one.item.get_self_href()
    return addresses if own is None else [*addresses, local_path(own)]


def _override(one: Candidate, scale: float | None, offset: float | None) -> Candidate:
    assets = tuple(
        replace(asset, radiometry=radiometry.override(scale, offset, asset.radiometry)) for asset in one.assets
    )
    return replace(one, assets=assets)


def _identity(one: Candidate) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "updated": one.item.properties.get("updated"),
        "rasters": [raster_identity(one.href(asset)) for asset in one.assets],
    }
