"""One scene from STAC Items: which of them, on which grid, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pystac
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from catalog import sentinel2
from catalog.area import clip, project, spans_utm_zones, utm_crs, window_of
from catalog.clouds import NOTE as CLOUD_NOTE
from catalog.errors import AreaError, RadiometryError, RefusedError, RequestError, SourceError, UnreachableError
from catalog.gdal import check_allowed, files_of, open_raster, parts_of
from catalog.identity import Identity, look_up, notes_on, raster_identity
from catalog.item_bands import BandAsset
from catalog.items import Candidate, as_filed, candidate, clear_share, footprint, overpasses
from catalog.layers import ItemLayer, ItemsReader, LayerBand, stored_as, with_nodata
from catalog.paths import local_path, without_query
from catalog.pixel_size import gsd_m_of
from catalog.radiometry import check_type
from catalog.scene import BandSpec, Scene
from catalog.sensors import SensorBand, SensorProfile, band_name
from catalog.unmeasured import check_given_nodata
from catalog.warped import map_crs
from catalog.web import patient

SCL_KEYS = ("scl", "SCL", "SCL_20m")

#: At the equator, of WGS84, metres.
_EARTH_RADIUS_M = 6378137.0


@dataclass(frozen=True)
class GivenBands:
    """Bands as a user describes them, where Items say otherwise or nothing."""

    scale: float | None = None
    """Reflectance per DN."""
    offset: float | None = None
    """Reflectance at DN 0."""
    sensor: SensorProfile | None = None
    """Profile that names the bands; None for ESA's names."""
    nodata: float | None = None
    """A DN that is no measurement, besides those that the Items declare."""


def scene_of_items(
    items: Sequence[pystac.Item],
    bands: Sequence[str],
    given: GivenBands | None = None,
    *,
    area: BaseGeometry | None = None,
    fill: bool = False,
    clouds_out: bool = False,
    crs: str | None = None,
) -> Scene:
    """Make one scene of ``bands`` from Items.

    Of several overpasses the one with the largest clear share of ``area`` is taken, the latest of equal ones; the
    others fill its gaps only when ``fill`` is set, clearest first. Without an area all that the Items cover is it.

    Raises :class:`SourceError`, :class:`AreaError` or :class:`catalog.errors.RadiometryError`.
    """
    given = given or GivenBands()
    sensor, nodata = given.sensor, given.nodata
    bands = [band_name(band, sensor) or band for band in bands]
    notes: list[str] = []
    candidates = usable_items(
        items, notes, partial(candidate, bands=bands, scale=given.scale, offset=given.offset, sensor=sensor)
    )
    near = None if area is None else near_items(area, candidates)
    target = target_crs(candidates, near, crs, notes)
    chosen = _choose(candidates, near, target, fill, notes)
    for one in chosen:
        # An Item's rasters need not be in one place: before any of them is asked for.
        for asset in one.assets:
            check_allowed(one.href(asset))
    filed = [as_filed(one, notes) for one in chosen]
    if crs is None and any(one.crs != before.crs for one, before in zip(filed, chosen, strict=True)):
        target = target_crs(filed, near, None, [])
    chosen = filed
    if area is not None and near is not None:
        notes += _coverage(chosen, near, target, near.area / area.area)
    geobox = _common_grid(chosen, target, notes)
    window = Window(0, 0, geobox.shape.x, geobox.shape.y)
    if area is not None:
        window = window_of(area, geobox, "the Items found")
    lead = chosen[0]
    layers = tuple(_layer(one, lead, geobox, target) for one in chosen)
    for layer in layers:
        for band in _rasters(layer):
            check_allowed(band.path)
    read = [band for layer in layers for band in (_rasters(layer) if clouds_out else layer.bands)]
    rasters = look_up(part for band in read for part in parts_of(band.path))
    notes += notes_on(rasters)
    layers = tuple(with_nodata(layer, sensor, nodata) for layer in layers)
    for layer in layers if clouds_out else ():
        if layer.scl is not None:
            _check_opens(layer.scl.path)
    for one in chosen:
        for asset in one.assets:
            check_type(_dtype_of(one, asset), asset.radiometry, f"Item {one.item.id}")
    dtype, marker = stored_as(layers[0])
    check_given_nodata(nodata, np.dtype(dtype))
    files = [_raster_files(layer) for layer in layers]
    if clouds_out:
        lacking = [one.item.id for one, layer in zip(chosen, layers, strict=True) if layer.scl is None]
        if lacking:
            raise SourceError(f"clouds cannot be masked: {', '.join(lacking)} has no scene classification (SCL)")
        notes.append(CLOUD_NOTE)
    return Scene(
        id="-".join(dict.fromkeys(one.item.id for one in chosen))
        if len(chosen) <= 2
        else f"{lead.item.id}-and-{len(chosen) - 1}",
        bands=tuple(_band_spec(lead, i, name, sensor, marker, layers[0].bands[i]) for i, name in enumerate(bands)),
        geobox=geobox,
        area=window,
        dtype=dtype,
        reader=ItemsReader(layers, geobox, dtype, marker, clouds_out),
        radiometry=tuple(asset.radiometry.reason for asset in lead.assets),
        identity={
            "items": [_identity(*each, rasters) for each in zip(chosen, layers, files, strict=True)],
            "clouds_out": clouds_out,
        },
        datetime=None if lead.period else lead.datetime,
        period=lead.period,
        nodata_declared=True,
        scaled=True,
        sources=tuple(without_query(one.item.get_self_href() or one.item.id) for one in chosen),
        rasters=rasters,
        files=(*(file for rasters in files for file in rasters), *_own_files(chosen)),
        notes=tuple(notes),
        properties={
            key: lead.item.properties[key]
            for key in ("platform", "constellation", "instruments", "eo:cloud_cover")
            if key in lead.item.properties
        },
        sensor=None if sensor is None else sensor.name,
    )


def usable_items(
    items: Sequence[pystac.Item], notes: list[str], candidate_of: Callable[[pystac.Item], Candidate]
) -> list[Candidate]:
    """Items that hold the bands; one that does not is left out with a note, unless none does."""
    found, errors = [], []
    for item in items:
        try:
            found.append(candidate_of(item))
        except (UnreachableError, RefusedError):
            # The one may be the best of all, and there again later; the other is not to be passed over in silence.
            raise
        except (SourceError, RadiometryError) as error:
            errors.append(error)
    if not found:
        raise errors[0]
    notes += [f"left out: {error}" for error in errors]
    return found


def near_items(area: BaseGeometry, candidates: Sequence[Candidate]) -> BaseGeometry:
    """Part of an area near Items: far from them a projection folds."""
    near = clip(area, [one.ground for one in candidates])
    if near.is_empty:
        raise AreaError("the Items found do not touch the area: their footprints end before it")
    return near


def target_crs(candidates: Sequence[Candidate], area: BaseGeometry | None, crs: str | None, notes: list[str]) -> CRS:
    """CRS of a scene of Items: the given one, theirs, or that of the area's UTM zone."""
    if crs is not None:
        return map_crs(crs)
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
    if len(groups) == 1 and area is None:
        return groups[0]
    wanted = shapely.union_all([footprint(one, crs) for one in candidates]) if area is None else project(area, crs)
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
    best = groups[order[0]][0]
    if len(order) > 1:
        gaps = "its gaps are filled from the others" if fill else "where it has gaps, --fill takes the others"
        notes.append(f"overpass of {best.datetime:%Y-%m-%d %H:%M} taken as the clearest of {len(order)}; {gaps}")
    return chosen


def _coverage(chosen: Sequence[Candidate], near: BaseGeometry, crs: CRS, share: float) -> list[str]:
    """A word when Items do not cover the area, of which ``near`` is the ``share`` near them."""
    wanted = project(near, crs)
    covered = shapely.union_all([footprint(one, crs) for one in chosen]).intersection(wanted).area / wanted.area
    return [] if share * covered >= 0.999 else [f"the Items cover {100 * share * covered:.0f} % of the area"]


def _without_other_zones(group: list[Candidate], area: BaseGeometry, crs: CRS) -> list[Candidate]:
    """Leave Items of other zones out where those of this one cover the area by themselves."""
    own = [one for one in group if one.crs == crs]
    if own and shapely.union_all([footprint(one, crs) for one in own]).buffer(1e-6).covers(area):
        return own
    return own + [one for one in group if one.crs != crs]


def _common_grid(chosen: Sequence[Candidate], crs: CRS, notes: list[str]) -> GeoBox:
    """The grid of the first Item in this CRS, extended over all Items.

    Raises :class:`RequestError` when the CRS cuts the Items apart.
    """
    extents = [Geometry(one.grid.extent.geom, one.crs).to_crs(crs).geom for one in chosen]
    union = shapely.union_all(extents)
    west, _, east, _ = union.bounds
    if not east - west <= _half_earth(crs):
        raise RequestError(
            f"{crs} cuts the Items apart at the antimeridian: leave --crs out, or give one that holds them whole, "
            f"as {chosen[0].crs}"
        )
    native = next((one.grid for one in chosen if one.crs == crs), None)
    if native is None:
        native = chosen[0].grid.to_crs(crs)
    others = [one.item.id for one in chosen if not _aligned(one.grid, native)]
    if others:
        notes.append(f"resampled (cubic) onto the grid of {native.crs}: {', '.join(others)}")
    # A hair's breadth less than the union, so that rounding does not add a row of pixels.
    shrunk = union.buffer(-1e-6 * abs(native.resolution.x), join_style="mitre")
    return native.enclosing(Geometry(shrunk, crs))


def _half_earth(crs: CRS) -> float:
    """Half of the equator in the unit of a CRS."""
    if crs.geographic:
        return 180.0
    return math.pi * _EARTH_RADIUS_M / float(crs.proj.axis_info[0].unit_conversion_factor)


def _aligned(grid: GeoBox, other: GeoBox) -> bool:
    if grid.crs != other.crs or grid.resolution != other.resolution:
        return False
    cols, rows = (~other.affine) * (grid.affine.c, grid.affine.f)
    return bool(abs(cols - round(cols)) < 1e-6 and abs(rows - round(rows)) < 1e-6)


def _layer(one: Candidate, lead: Candidate, geobox: GeoBox, crs: CRS) -> ItemLayer:
    if any(a.radiometry.scale != b.radiometry.scale for a, b in zip(one.assets, lead.assets, strict=True)):
        raise SourceError(f"Items {one.item.id} and {lead.item.id} have different scales: process them by themselves")
    scl = next((key for key in SCL_KEYS if key in one.item.assets), None)
    bands = tuple(
        LayerBand(
            path=one.href(own),
            index=own.index,
            shift_dn=(own.radiometry.offset - leading.radiometry.offset) / leading.radiometry.scale,
            nodata=() if own.nodata is None else (own.nodata,),
        )
        for own, leading in zip(one.assets, lead.assets, strict=True)
    )
    aligned = _aligned(one.grid, geobox)
    _check_spans(one, geobox, aligned=aligned)
    return ItemLayer(
        bands=bands,
        bounds=Geometry(one.grid.extent.geom, one.crs).to_crs(crs).boundingbox.bbox,
        aligned=aligned,
        scl=LayerBand(local_path(one.item.assets[scl].href), 1) if scl else None,
    )


def _check_spans(one: Candidate, geobox: GeoBox, *, aligned: bool) -> None:
    """Refuse bands of several sampling distances where the coarse ones' pixels are no whole blocks of the grid."""
    span = max(asset.span for asset in one.assets)
    if span == 1:
        return
    cols, rows = (~geobox.affine) * (one.grid.affine.c, one.grid.affine.f)
    if not aligned or round(cols) % span or round(rows) % span:
        raise SourceError(
            f"Item {one.item.id} would be resampled, and its bands have several sampling distances: "
            "ask for bands of one, or for an area inside one UTM zone"
        )


@patient
def _check_opens(path: str) -> None:
    """Refuse a raster that cannot be opened, or must not be, before any pixel is read."""
    with open_raster(path):
        pass


@patient
def _dtype_of(one: Candidate, asset: BandAsset) -> str:
    with open_raster(one.href(asset)) as raster:
        return str(raster.dtypes[min(asset.index, raster.count) - 1])


def _band_spec(
    lead: Candidate, i: int, name: str, sensor: SensorProfile | None, nodata: float, where: LayerBand
) -> BandSpec:
    band = sentinel2.BANDS.get(name) if sensor is None else sensor.band(name)
    values = lead.assets[i].radiometry
    # Of the pixels that are read: an Item may hold a band on another grid than its instrument's.
    gsd_m = gsd_m_of(lead.grid)
    return BandSpec(
        name=name,
        gsd_m=None if gsd_m is None else gsd_m * lead.assets[i].span,
        scale=values.scale,
        offset=values.offset,
        nodata=nodata,
        also_nodata=tuple(value for value in where.nodata if value != nodata),
        mtf_nyquist=band.mtf_nyquist if band else None,
        description=name,
        role=band.role if isinstance(band, SensorBand) else "",
    )


def _rasters(layer: ItemLayer) -> list[LayerBand]:
    return [*layer.bands, *([layer.scl] if layer.scl else [])]


def _raster_files(layer: ItemLayer) -> list[str]:
    """Local files that reading a layer reads."""
    return list(dict.fromkeys(file for band in _rasters(layer) for file in files_of(band.path)))


def _own_files(chosen: Sequence[Candidate]) -> list[str]:
    """The files that the Items themselves are in, or their addresses."""
    return [local_path(href) for one in chosen if (href := one.item.get_self_href()) is not None]


def _identity(one: Candidate, layer: ItemLayer, files: Sequence[str], found: Mapping[str, Identity]) -> dict[str, Any]:
    def known(path: str) -> Identity:
        # Of a classification that is not read, nobody was asked.
        return found.get(path) or raster_identity(path)

    return {
        "id": one.item.id,
        "updated": one.item.properties.get("updated"),
        "rasters": [
            {**known(band.path), "band": band.index, "shift_dn": band.shift_dn, "nodata": band.nodata}
            for band in _rasters(layer)
        ],
        "files": [known(file) for file in files],
        "aligned": layer.aligned,
    }
