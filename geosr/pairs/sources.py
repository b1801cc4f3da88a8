"""The scenes of both sensors: opened from files, Items and searches, and matched in time and space."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

import catalog
from catalog import Query, RequestError, Scene, SceneRequest, SourceError, parse_bbox
from catalog.area import footprint_of
from catalog.clouds import mask_clouds
from catalog.gdal import open_raster
from catalog.items import is_item, read_item
from catalog.overpass import SCL_KEYS, GivenBands, scene_of_items
from catalog.plausibility import judged
from catalog.radiometry import reflectance_of
from catalog.resample import read_resampled
from catalog.safe import is_safe
from catalog.spelling import CONFIGURED
from geosr.configuration import find_files
from geosr.errors import PairsError
from geosr.pairs.config import Imagery, PairsConfig


@dataclass(frozen=True)
class PairView:
    """A scene, and how a pair set reads it."""

    scene: Scene
    order: tuple[int, ...]
    """Position in the scene of each of the set's bands."""
    nodata: float | None
    """A further DN without measurement."""

    def read(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Reflectance ``(bands, rows, cols)`` in a window of the scene's grid, and what was measured in all bands.

        Saturated pixels, the largest DN of an integer type, count as not measured.
        """
        pixels, valid = self.scene.reader.read(window)
        order = list(self.order)
        pixels = pixels[order]
        measured = np.asarray(valid[order].all(axis=0), dtype=np.bool_)
        if np.issubdtype(pixels.dtype, np.integer):
            measured = measured & (pixels < np.iinfo(pixels.dtype).max).all(axis=0)
        if self.nodata is not None:
            measured = measured & (pixels != self.nodata).all(axis=0)
        bands = [self.scene.bands[i] for i in order]
        reflectance = reflectance_of(pixels, [one.scale for one in bands], [one.offset for one in bands], np.float64)
        return np.where(measured, reflectance, 0.0), measured


@dataclass(frozen=True)
class Match:
    """An LR scene and an HR scene over the same ground."""

    lr: PairView
    hr: PairView
    days: float | None
    """Between the two; None where a date is not known."""


@dataclass(frozen=True)
class RasterClasses:
    """A scene classification in a raster of its own, on any grid."""

    path: str
    geobox: GeoBox
    """Grid of the scene."""

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        with open_raster(self.path) as raster:
            classes, known = read_resampled(
                raster, [1], self.geobox[window.toslices()], "nearest", nodata=[raster.nodatavals[0]]
            )
        return np.where(known[0], classes[0], 0).astype(np.uint8)


def find_matches(config: PairsConfig, data: Path) -> list[Match]:
    """Every pair of scenes, in the order of their names.

    Raises :class:`PairsError` when there is none, :class:`catalog.CatalogError` for what cannot be opened.
    """
    lows, highs = (_open(imagery, config.bands, data) for imagery in (config.lr, config.hr))
    matches = []
    for high in highs:
        near = [Match(low, high, _days(low, high)) for low in lows if _overlap(low.scene, high.scene)]
        near = [one for one in near if one.days is None or config.max_days is None or one.days <= config.max_days]
        near.sort(key=lambda one: (one.days or 0.0, one.lr.scene.id))
        matches += near[: config.lr_per_hr]
    if not matches:
        raise PairsError(
            f"none of {len(lows)} LR and {len(highs)} HR scenes lie over one another within {config.max_days} days: "
            "widen the area, the dates or max_days"
        )
    return sorted(matches, key=lambda one: (one.lr.scene.id, one.hr.scene.id))


def _open(imagery: Imagery, bands: Sequence[str], data: Path) -> list[PairView]:
    area = None
    if imagery.search is not None:
        area, items = _search(imagery)
        scenes = [_of_item(item, imagery, bands, area) for item in items]
    else:
        scenes = [_of_source(source, imagery, bands, data) for source in _sources(imagery, data)]
    return [PairView(scene, _order(scene, bands), imagery.nodata) for scene in scenes]


def _search(imagery: Imagery) -> tuple[BaseGeometry, list[pystac.Item]]:
    search = imagery.search
    assert search is not None
    area = parse_bbox(",".join(map(str, search.bbox)))
    query = Query(
        area=area,
        datetime=search.datetime,
        api=search.api,
        collection=search.collection,
        max_cloud=search.max_cloud,
    )
    return area, sorted(catalog.search(query), key=lambda item: item.id)


def _sources(imagery: Imagery, data: Path) -> list[str]:
    """Paths and addresses, each once."""
    found: list[str] = []
    for source in imagery.sources:
        if "://" in source or source.startswith("/vsi"):
            found.append(source)
            continue
        if Path(source).is_absolute():
            raise RequestError(f"sources lie in the data folder and are named from there, not as {source}")
        paths = find_files(data, source, PairsError)
        if not paths:
            raise PairsError(f"no imagery matches {source} in {data}")
        found += map(str, paths)
    return list(dict.fromkeys(found))


def _of_source(source: str, imagery: Imagery, bands: Sequence[str], data: Path) -> Scene:
    if is_item(source):
        return _of_item(read_item(source), imagery, bands, None)
    product = is_safe(source)
    request = SceneRequest(
        source=source,
        bands=bands if product else imagery.bands,
        scale=imagery.scale,
        offset=imagery.offset,
        nodata=None if imagery.plain_image else imagery.nodata,
        plain_image=imagery.plain_image,
        mask_clouds=product and imagery.mask_clouds is not False,
    )
    scene = catalog.open_scene(request)
    if imagery.datetime is not None and scene.datetime is None:
        scene = replace(scene, datetime=_instant(imagery.datetime))
    if imagery.classes is not None and imagery.mask_clouds is not False:
        path = str(data / imagery.classes)
        scene = mask_clouds(scene, RasterClasses(path, scene.geobox), path)
    elif imagery.mask_clouds and not product:
        raise PairsError(f"clouds cannot be masked in {source}: name its scene classification as classes")
    return scene


def _of_item(item: pystac.Item, imagery: Imagery, bands: Sequence[str], area: BaseGeometry | None) -> Scene:
    clouds_out = imagery.mask_clouds
    if clouds_out is None:
        clouds_out = any(key in item.assets for key in SCL_KEYS)
    mapped = _mapped(item, imagery) if imagery.assets else item
    given = GivenBands(imagery.scale, imagery.offset, nodata=imagery.nodata)
    return judged(scene_of_items([mapped], bands, given, area=area, clouds_out=clouds_out), CONFIGURED)


def _mapped(item: pystac.Item, imagery: Imagery) -> pystac.Item:
    """The Item with its bands named as the configuration maps them, and without other assets that hold any."""
    content = item.to_dict(transform_hrefs=False)
    wanted = {one.asset for one in imagery.assets.values()}
    missing = sorted(wanted - set(content["assets"]))
    if missing:
        raise SourceError(
            f"Item {item.id} has no asset {', '.join(missing)}: its assets are {', '.join(content['assets'])}"
        )
    content["assets"] = {k: v for k, v in content["assets"].items() if k in wanted or k in SCL_KEYS}
    for key in wanted:
        asset = content["assets"][key]
        numbers = {one.band: name for name, one in imagery.assets.items() if one.asset == key}
        _rename(asset, numbers)
    mapped = pystac.Item.from_dict(content)
    mapped.set_self_href(item.get_self_href())
    return mapped


def _rename(asset: dict[str, Any], names: dict[int, str]) -> None:
    """Give the bands of an asset's raster, by their numbers, these names, and all others names that no band has."""
    old = asset.get("bands") or asset.pop("eo:bands", [])
    count = max(len(old), max(names))
    described = [*map(dict, old), *({} for _ in range(count - len(old)))]
    for number, one in enumerate(described, start=1):
        one["name"] = names.get(number, f"unused-{number}")
    # As STAC 1.1 has them: older fields are looked at only where an Item declares their extension.
    asset["bands"] = described
    asset["roles"] = ["data"]


def _order(scene: Scene, bands: Sequence[str]) -> tuple[int, ...]:
    missing = [band for band in bands if band not in scene.names]
    if missing:
        raise PairsError(f"{scene.id} has no band {', '.join(missing)}: its bands are {', '.join(scene.names)}")
    return tuple(scene.names.index(band) for band in bands)


def _instant(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise PairsError(f"not a date: {text!r}; give one as 2024-06-01 or 2024-06-01T10:30:00") from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _days(low: PairView, high: PairView) -> float | None:
    first, second = (view.scene.datetime or (view.scene.period or (None,))[0] for view in (low, high))
    return None if first is None or second is None else abs((first - second).total_seconds()) / 86400


def _overlap(low: Scene, high: Scene) -> bool:
    return bool(footprint_of(low.geobox).intersects(footprint_of(high.geobox)))
