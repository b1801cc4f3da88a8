"""From what a user names to a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pystac import Item
from shapely.geometry.base import BaseGeometry

from catalog.acquisition import Acquisition
from catalog.area import covered_share, window_of
from catalog.clouds import mask_clouds as mask_clouds_of
from catalog.errors import RequestError, SourceError
from catalog.item_bands import check_sensor, sensor_of_item
from catalog.items import is_item, read_items
from catalog.mosaic import mosaic_scenes
from catalog.overpass import GivenBands, scene_of_items
from catalog.paths import is_remote
from catalog.plausibility import judged
from catalog.raster import open_raster_scene
from catalog.safe import is_safe, open_safe_scene, safe_classes
from catalog.scene import Scene
from catalog.search import DEFAULT_API, DEFAULT_COLLECTION, Query, search
from catalog.sensors import SensorProfile, counterparts
from catalog.warped import warp_scene

#: Characters of a name that is too long to be one.
_LONGEST_SHOWN = 100


@dataclass(frozen=True)
class SceneRequest:
    """Source of pixels, and the part of it to read."""

    source: str | None = None
    """A raster, a ``.SAFE`` folder or zip, or one or several STAC Items, by path or URL; None to search."""
    more_sources: tuple[str, ...] = ()
    """Further sources of the same date, which are joined with the first before anything is upscaled."""
    area: BaseGeometry | None = None
    """Polygon in degrees: what to crop to, or where to search."""
    datetime: str | None = None
    """When to search."""
    max_cloud: float = 100
    """Highest cloud cover, percent."""
    api: str = DEFAULT_API
    """Address of the STAC API to search."""
    collection: str = DEFAULT_COLLECTION
    """Collection to search in."""
    bands: Sequence[str] | None = None
    """Bands asked for by the user."""
    default_bands: Sequence[str] = ("B02", "B03", "B04", "B08")
    """Bands to load from products that have many, when the user names none."""
    default_sensor: str | None = None
    """Profile in which these have their names; None for Sentinel-2's."""
    scale: float | None = None
    """Reflectance per DN, overriding the source."""
    offset: float | None = None
    """Reflectance at DN 0, overriding the source."""
    nodata: float | None = None
    """A DN without measurement, besides those that the source declares."""
    plain_image: bool = False
    """Take a raster as brightness, with or without CRS."""
    mask_clouds: bool = False
    """Take pixels under clouds and shadows out."""
    fill: bool = False
    """Fill the gaps of an overpass from others."""
    crs: str | None = None
    """Put the scene on a grid of this CRS instead of its own."""
    acquired: Acquisition | None = None
    """When a raster was acquired, overriding what it says."""
    sensor: SensorProfile | None = None
    """Sensor profile that supplies what the source does not say."""


def open_scene(request: SceneRequest) -> Scene:
    """Open the scene that a request describes. No pixels are read.

    Parameters
    ----------
    request
        Source, area, bands and options.

    Returns
    -------
    Scene
        Bands with their radiometry, grid, area and reader.

    Raises
    ------
    CatalogError
        The source cannot be opened, the request contradicts it, or a search finds nothing. The message is for the user.

    """
    return judged(_open(request))


def _open(request: SceneRequest) -> Scene:
    if request.source is None:
        return items_scene(request, search_items(request))
    sources = distinct_sources(request, "join sources")
    first = sources[0]
    if is_item(first):
        refuse_idle({"plain-image": request.plain_image, "acquired": request.acquired}, f"{first} is a STAC Item")
        return items_scene(request, [item for source in sources for item in read_items(source)])
    refuse_idle({"fill": request.fill}, f"{first} is not made of STAC Items")
    scenes = [file_scene(request, source) for source in sources]
    if len(scenes) == 1:
        return cropped(scenes[0], request, first)
    joined = mosaic_scenes(scenes, whole=request.area is None)
    return cropped(joined, request, joined.id)


def distinct_sources(request: SceneRequest, purpose: str) -> tuple[str, ...]:
    """List the sources of a request, a file that has several names once.

    Raises :class:`RequestError` where some are STAC Items and others are not, and :class:`SourceError` for names that
    no file can have. ``purpose`` is what the sources are for, in words of the message.
    """
    assert request.source is not None
    distinct: dict[str, str] = {}
    for source in (request.source, *request.more_sources):
        _check_name(source)
        distinct.setdefault(source if is_remote(source) else str(Path(source).resolve()), source)
    sources = tuple(distinct.values())
    items = [source for source in sources if is_item(source)]
    if 0 < len(items) < len(sources):
        raise RequestError(f"{items[0]} is a STAC Item, and the other sources are not all: {purpose} of one kind")
    return sources


def file_scene(request: SceneRequest, source: str) -> Scene:
    """Open all of a raster or .SAFE product."""
    return _product_scene(request, source) if is_safe(source) else _raster_scene(request, source)


def cropped(scene: Scene, request: SceneRequest, what: str) -> Scene:
    """Limit a scene to the area of a request, on the grid that it asks for."""
    if request.crs is not None:
        scene = warp_scene(scene, request.crs)
    if request.area is None:
        return scene
    scene = replace(scene, area=window_of(request.area, scene.geobox, what))
    covered = covered_share(request.area, scene.geobox)
    return scene if covered > 0.999 else scene.with_warnings(f"the source covers {100 * covered:.0f} % of the area")


def _check_name(source: str) -> None:
    """Refuse a source whose name no file can have, before libraries do in words of their own."""
    try:
        source.encode()
        if not is_remote(source):
            Path(source).exists()
    except UnicodeEncodeError:
        shown = source.encode("utf-8", "replace").decode()
        raise SourceError(
            f"the name of {shown} is not UTF-8, and cannot be written into a product: rename it"
        ) from None
    except OSError as error:
        shown = source if len(source) < _LONGEST_SHOWN else f"{source[:_LONGEST_SHOWN]}…"
        raise SourceError(f"cannot open {shown}: {error.strerror}") from error
    if "\0" in source:
        raise SourceError("the name of the source holds a NUL, as no file's does")


def search_items(request: SceneRequest) -> list[Item]:
    """Search for the Items of a request without a source."""
    if request.area is None or request.datetime is None:
        raise SourceError("nothing to work on: give a source, or an area and dates to search for one")
    refuse_idle({"acquired": request.acquired}, "a search finds STAC Items, which tell their time")
    query = Query(
        area=request.area,
        datetime=request.datetime,
        api=request.api,
        collection=request.collection,
        max_cloud=request.max_cloud,
    )
    return search(query)


def refuse_idle(choices: Mapping[str, Any], why: str) -> None:
    """Refuse options that have no effect: the user would expect them in the pixels."""
    idle = [f"--{name}" for name, value in choices.items() if value]
    if idle:
        raise RequestError(f"{' and '.join(idle)} would have no effect: {why}")


@dataclass(frozen=True)
class ItemsOfSensor:
    """Items of one instrument, and the bands that are taken from them."""

    items: tuple[Item, ...]
    bands: tuple[str, ...]
    given: GivenBands
    left_out: tuple[str, ...]
    """Ids of Items of other instruments."""


def of_one_sensor(request: SceneRequest, items: Sequence[Item]) -> ItemsOfSensor:
    """Take the Items of one instrument: the one that a request names, or that of the first."""
    sensor, others = request.sensor, []
    contents = [item.to_dict(include_self_link=False, transform_hrefs=False) for item in items]
    if sensor is not None:
        for content in contents:
            check_sensor(content, sensor)
    else:
        sensors = [sensor_of_item(content) for content in contents]
        sensor = sensors[0]
        others = [item.id for item, own in zip(items, sensors, strict=True) if own != sensor]
        items = [item for item, own in zip(items, sensors, strict=True) if own == sensor]
    if sensor is not None and sensor.name == "sentinel-2":
        # Its Items tell their own radiometry, which no profile knows.
        sensor = None
    bands = request.bands or counterparts(request.default_bands, request.default_sensor, sensor)
    given = GivenBands(request.scale, request.offset, sensor, request.nodata)
    return ItemsOfSensor(tuple(items), tuple(bands), given, tuple(others))


def items_scene(request: SceneRequest, items: Sequence[Item]) -> Scene:
    """Make one scene of Items."""
    chosen = of_one_sensor(request, items)
    scene = scene_of_items(
        chosen.items,
        chosen.bands,
        chosen.given,
        area=request.area,
        fill=request.fill,
        clouds_out=request.mask_clouds,
        crs=request.crs,
    )
    if not chosen.left_out:
        return scene
    return scene.with_warnings(f"left out, for their bands are another instrument's: {', '.join(chosen.left_out)}")


def _product_scene(request: SceneRequest, source: str) -> Scene:
    refuse_idle(
        {"plain-image": request.plain_image, "sensor": request.sensor, "acquired": request.acquired},
        f"{source} is a .SAFE product",
    )
    scene = open_safe_scene(
        source,
        tuple(request.bands or request.default_bands),
        scale=request.scale,
        offset=request.offset,
        nodata=request.nodata,
    )
    if request.mask_clouds:
        classes = safe_classes(source, scene.geobox)
        return mask_clouds_of(scene, classes, classes.path)
    return scene


def _raster_scene(request: SceneRequest, source: str) -> Scene:
    if request.mask_clouds:
        raise SourceError(f"clouds cannot be masked in {source}: a raster alone has no scene classification (SCL)")
    if request.plain_image:
        refuse_idle({"sensor": request.sensor}, "--plain-image takes values as brightness, whatever recorded them")
    local = Path(source)
    return open_raster_scene(
        str(local.resolve()) if local.exists() else source,
        bands=request.bands,
        scale=request.scale,
        offset=request.offset,
        nodata=request.nodata,
        plain_image=request.plain_image,
        sensor=request.sensor,
        acquired=request.acquired,
    )
