"""From what a user names to a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from catalog.area import covered_share, window_of
from catalog.clouds import mask_clouds as mask_clouds_of
from catalog.errors import RequestError, SourceError
from catalog.items import is_item, read_item
from catalog.overpass import scene_of_items
from catalog.raster import open_raster_scene
from catalog.safe import is_safe, open_safe_scene, safe_classes
from catalog.scene import Scene
from catalog.search import DEFAULT_API, DEFAULT_COLLECTION, Query, search
from catalog.sensors import SensorProfile


@dataclass(frozen=True)
class SceneRequest:
    """Where pixels come from, and which of them."""

    source: str | None = None
    """A raster, a ``.SAFE`` folder or zip, or a STAC Item, by path or URL; None to search."""
    area: BaseGeometry | None = None
    """Polygon in degrees: what to crop to, or where to search."""
    datetime: str | None = None
    """When to search."""
    max_cloud: float = 100
    """Highest cloud cover, percent."""
    api: str = DEFAULT_API
    collection: str = DEFAULT_COLLECTION
    bands: Sequence[str] | None = None
    """Bands asked for by the user."""
    default_bands: Sequence[str] = ("B02", "B03", "B04", "B08")
    """Bands to load from products that have many, when the user names none."""
    scale: float | None = None
    """Reflectance per DN, overriding the source."""
    offset: float | None = None
    """Reflectance at DN 0, overriding the source."""
    picture: bool = False
    """Take a raster as brightness, with or without CRS."""
    mask_clouds: bool = False
    """Take pixels under clouds and shadows out."""
    fill: bool = False
    """Fill the gaps of an overpass from others."""
    crs: str | None = None
    """Put Items on a grid of this CRS instead of their own."""
    sensor: SensorProfile | None = None
    """What is known of a raster's instrument, where the raster does not say itself."""


def open_scene(request: SceneRequest) -> Scene:
    """The scene that a request describes.

    Raises :class:`catalog.errors.CatalogError` with a message for the user.
    """
    source = request.source
    if source is None:
        return _search_scene(request)
    if is_item(source):
        _refuse({"picture": request.picture, "sensor": request.sensor}, f"{source} is a STAC Item")
        return _items_scene(request, [read_item(source)])
    _refuse({"fill": request.fill, "crs": request.crs}, f"{source} is not made of STAC Items")
    scene = _product_scene(request, source) if is_safe(source) else _raster_scene(request, source)
    if request.area is None:
        return scene
    scene = replace(scene, area=window_of(request.area, scene.geobox, source))
    covered = covered_share(request.area, scene.geobox)
    return scene if covered > 0.999 else scene.noting(f"the source covers {100 * covered:.0f} % of the area")


def _search_scene(request: SceneRequest) -> Scene:
    if request.area is None or request.datetime is None:
        raise SourceError("nothing to work on: give a source, or an area and dates to search for one")
    _refuse({"sensor": request.sensor}, "a search finds STAC Items")
    query = Query(
        area=request.area,
        datetime=request.datetime,
        api=request.api,
        collection=request.collection,
        max_cloud=request.max_cloud,
    )
    return _items_scene(request, search(query))


def _refuse(choices: Mapping[str, Any], why: str) -> None:
    """What a user asks for and does not get would be a surprise in the pixels."""
    idle = [f"--{name}" for name, value in choices.items() if value]
    if idle:
        raise RequestError(f"{' and '.join(idle)} would have no effect: {why}")


def _items_scene(request: SceneRequest, items: list[Any]) -> Scene:
    return scene_of_items(
        items,
        tuple(request.bands or request.default_bands),
        area=request.area,
        fill=request.fill,
        clouds_out=request.mask_clouds,
        crs=request.crs,
        scale=request.scale,
        offset=request.offset,
    )


def _product_scene(request: SceneRequest, source: str) -> Scene:
    _refuse({"picture": request.picture, "sensor": request.sensor}, f"{source} is a .SAFE product")
    scene = open_safe_scene(
        source, tuple(request.bands or request.default_bands), scale=request.scale, offset=request.offset
    )
    if request.mask_clouds:
        classes = safe_classes(source, scene.geobox)
        return mask_clouds_of(scene, classes, classes.path)
    return scene


def _raster_scene(request: SceneRequest, source: str) -> Scene:
    if request.mask_clouds:
        raise SourceError(f"clouds cannot be masked in {source}: a raster alone has no scene classification (SCL)")
    if request.picture:
        _refuse({"sensor": request.sensor}, "--picture takes values as brightness, whatever recorded them")
    local = Path(source)
    return open_raster_scene(
        str(local.resolve()) if local.exists() else source,
        bands=request.bands,
        scale=request.scale,
        offset=request.offset,
        picture=request.picture,
        sensor=request.sensor,
    )
