"""Scenes of a batch, from files, folders, lists and the results of a search."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pystac
from shapely.geometry.base import BaseGeometry

from catalog import CatalogError
from catalog.items import by_overpass, ground_of, is_item, item_time, read_item
from catalog.publish import CHANGE
from catalog.strict_json import json_text
from geosr.errors import UsageError

#: Names of files that describe the folder of a batch.
RESERVED = ("collection", "summary")

#: Items of a search that are looked at, per date asked for: many are cloudy.
LOOKED_AT = 4

_RASTERS = (".tif", ".tiff", ".jp2", ".vrt")
_PRODUCTS = (".safe", ".zip")
_LIST = ".txt"


@dataclass(frozen=True)
class BatchScene:
    """One scene, and the name of its product."""

    name: str
    """Name of the product's file, without its ending."""
    source: str
    """Raster, product or STAC Item, by path or URL."""
    area: BaseGeometry | None = None
    """Place of the product in degrees; None for that of the batch."""
    fault: str = ""
    """Reason to refuse it unopened; empty for none."""
    joined: tuple[str, ...] = ()
    """Further Items of its overpass, which are joined with it before anything is upscaled."""

    @property
    def sources(self) -> tuple[str, ...]:
        """All that it is made of."""
        return self.source, *self.joined


def scenes_of(sources: Sequence[str]) -> list[BatchScene]:
    """List the scenes of files, addresses, folders, and text files with one of these a line.

    A folder has its STAC Items; without any, its .SAFE products and zips; without any, its rasters.

    Raises :class:`UsageError` where there are none, or two have one name.
    """
    found = [scene for source in sources for scene in _expand(source)]
    if not found:
        raise UsageError("nothing to work on: name scenes, folders or lists of them, or search")
    return distinct(found)


def companions_of(
    scenes: Sequence[BatchScene], items: Sequence[pystac.Item] = (), most: int | None = None
) -> dict[str, tuple[str, ...]]:
    """List, by the source of each scene, the sources that may be further dates of its place.

    Files and Items are no dates of one another. Of the ``items`` of a search, in the scenes' order, those are listed
    that overlap the scene's, the nearest ``most`` in time.
    """
    found = {}
    for scene in scenes:
        others = [one for one in scenes if one != scene and is_item(one.source) == is_item(scene.source)]
        found[scene.source] = tuple(one.source for one in others)
    if items:
        by_source = {str(item.get_self_href()): item for item in items}
        for source, others_of in found.items():
            own = by_source[source]
            near = [one for one in others_of if _overlap(own, by_source[one])]
            near.sort(key=lambda one: abs(_seconds(by_source[one]) - _seconds(own)))
            found[source] = tuple(near[:most])
    return found


def _overlap(one: pystac.Item, other: pystac.Item) -> bool:
    return bool(ground_of(one).intersects(ground_of(other)))


def _seconds(item: pystac.Item) -> float:
    when = item.datetime or item.common_metadata.start_datetime
    return 0.0 if when is None else when.timestamp()


def expand(sources: Sequence[str]) -> list[str]:
    """Sources with patterns, text files and folders of rasters replaced by what they name.

    Other folders stay as they are: a .SAFE product is one source.

    Raises :class:`UsageError` for a pattern that no file fits, and for an empty list.
    """
    return [one for source in sources for one in _named(source)]


def _named(source: str) -> list[str]:
    path = Path(source)
    if "://" in source:
        return [source]
    try:
        there = path.exists()
    except OSError:
        # A name too long for any file is refused where it is opened.
        return [source]
    if there:
        return [scene.source for scene in _expand(source)] if path.suffix.lower() == _LIST else _rasters_in(path)
    if not set("*?[") & set(source):
        return [source]
    found = sorted(str(one) for one in Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not found:
        raise UsageError(f"no file fits {source}")
    return found


def _rasters_in(path: Path) -> list[str]:
    """Rasters of a folder; the path itself where it is no folder, or one without any."""
    if not path.is_dir() or path.suffix.lower() in _PRODUCTS:
        return [str(path)]
    rasters = [child for child in sorted(path.iterdir()) if child.suffix.lower() in _RASTERS]
    return list(map(str, rasters)) or [str(path)]


def scenes_of_items(items: Iterable[pystac.Item]) -> list[BatchScene]:
    """List the Items that a search has found.

    Raises :class:`UsageError` for one without an address, and where two have one name.
    """
    scenes = []
    for item in items:
        href = item.get_self_href()
        if href is None:
            raise UsageError(f"the Item {item.id} has no address (link rel=self): save it, and name its file")
        scenes.append(BatchScene(file_name(item.id), href))
    return distinct(scenes)


def join_overpasses(scenes: Sequence[BatchScene], items: Sequence[pystac.Item] = ()) -> list[BatchScene]:
    """Make one scene of the Items of an overpass, named by satellite and day.

    Scenes that are no Item stay as they are, and so does an Item that cannot be read, with its ``fault``. ``items`` are
    those of the scenes where a search has found them; others are read.

    Raises :class:`UsageError` where no scene is an Item.
    """
    found = {str(item.get_self_href()): item for item in items}
    kept: list[BatchScene] = []
    filed: list[tuple[str, pystac.Item]] = []
    for scene in scenes:
        try:
            if scene.source not in found and not is_item(scene.source):
                kept.append(scene)
                continue
            item = found[scene.source] if scene.source in found else read_item(scene.source)
            _ = item_time(item)
        except CatalogError as error:
            kept.append(replace(scene, fault=str(error)))
        else:
            filed.append((scene.source, item))
    if len(kept) == len(scenes) and not any(scene.fault for scene in kept):
        raise UsageError(
            "--join joins the STAC Items of an overpass, and no scene is one: geosr upscale A B joins rasters"
        )
    groups = [[filed[i] for i in group] for group in by_overpass([item for _, item in filed])]
    days = [_overpass_name(group[0][1], "%Y%m%d") for group in groups]
    for group, day in zip(groups, days, strict=True):
        # A satellite passes the polar regions several times a day.
        name = day if days.count(day) == 1 else _overpass_name(group[0][1], "%Y%m%dT%H%M")
        first, *others = sorted(source for source, _ in group)
        kept.append(BatchScene(name, first, joined=tuple(others)))
    return distinct(kept)


def _overpass_name(item: pystac.Item, form: str) -> str:
    satellite = item.properties.get("platform") or item.collection_id or "overpass"
    return file_name(f"{satellite}_{item_time(item).strftime(form)}")


def distinct(scenes: Sequence[BatchScene]) -> list[BatchScene]:
    """Scenes without repetitions. Raises :class:`UsageError` where two have one name."""
    names: dict[str, BatchScene] = {}
    for scene in scenes:
        other = names.setdefault(scene.name.lower(), scene)
        if other.sources != scene.sources:
            raise UsageError(
                f"{other.source} and {scene.source} would have one product, {scene.name}.tif: rename one of them"
            )
        if other.area != scene.area:
            raise UsageError(f"two features of {scene.source} would have one product, {scene.name}.tif: rename one")
    return list(dict.fromkeys(scenes))


def _expand(source: str) -> list[BatchScene]:
    path = Path(source)
    if "://" in source or not path.exists() or path.suffix.lower() in _PRODUCTS:
        # What is not there is refused as a scene, with its reason.
        return [BatchScene(_name_of(source), source)]
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() == _LIST:
        return [scene for line in _lines(path) for scene in _expand(_beside(path, line))]
    return [BatchScene(_name_of(source), source)]


def _lines(path: Path) -> list[str]:
    """Lines of a list, without empty ones and comments.

    Raises :class:`UsageError` for a file that is no text.
    """
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise UsageError(f"the list {path} is no text in UTF-8: save it as UTF-8, with one scene a line") from None
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _beside(path: Path, line: str) -> str:
    """A line of a list: relative paths are relative to the list."""
    return line if "://" in line else str(path.parent / line)


def _in_folder(folder: Path) -> list[BatchScene]:
    children = sorted(folder.iterdir())
    kinds = (
        [child for child in children if child.suffix.lower() in (".json", ".geojson") and _is_item(child)],
        [child for child in children if child.suffix.lower() in _PRODUCTS],
        [child for child in children if child.suffix.lower() in _RASTERS],
    )
    chosen = next((kind for kind in kinds if kind), None)
    if chosen is None:
        raise UsageError(f"the folder {folder} has no STAC Item, .SAFE product or raster")
    return [BatchScene(_name_of(str(child)), str(child)) for child in chosen]


def _is_item(path: Path) -> bool:
    """Tell whether a file is the STAC Item of a scene, and not that of a map of change."""
    try:
        content = json.loads(json_text(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict) or content.get("type") != "Feature" or "stac_version" not in content:
        return False
    properties = content.get("properties")
    made = properties.get("processing:expression") if isinstance(properties, dict) else None
    return not (isinstance(made, dict) and made.get("format") == CHANGE)


def _name_of(source: str) -> str:
    path = PurePosixPath(urlsplit(source).path if "://" in source else source)
    name = path.name
    while PurePosixPath(name).suffix.lower() in (*_RASTERS, *_PRODUCTS, ".json", ".geojson"):
        name = PurePosixPath(name).stem
    return file_name(name)


def file_name(text: str) -> str:
    """A name that any file system takes and no file of the folder has."""
    name = re.sub(r"[^\w.-]+", "_", text).strip(".") or "scene"
    return f"{name}_scene" if name.lower() in RESERVED else name
