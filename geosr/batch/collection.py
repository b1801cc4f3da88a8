"""A folder of products as a STAC Collection: its Items lead to it and it to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pystac.utils import str_to_datetime

import catalog
import tiling
from catalog.publish import PRODUCT
from catalog.strict_json import json_text

COLLECTION = "collection.json"

_DESCRIPTION = "Super-resolved scenes, made with geosr batch. Detail finer than the sources' resolution is estimated."

#: Interval of Items whose time of acquisition is not known at all.
_ANY_TIME = ("1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z")

#: Properties whose values the Collection lists.
_SUMMARISED = ("gsd", "platform", "constellation", "proj:code")

_WORLD = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True)
class _Entry:
    """A product's Item as the Collection needs it."""

    path: str
    linked: dict[str, Any]
    box: tuple[float, float, float, float] | None
    """West, south, east and north, degrees."""
    interval: tuple[str, str] | None
    """Start and end; None where the time of acquisition is not known."""
    summaries: dict[str, Any]

    @classmethod
    def of(cls, path: Path, content: dict[str, Any], name: str) -> _Entry:
        """Take what is needed of an Item, which others may have edited.

        Raises ``LookupError``, ``TypeError``, ``ValueError`` or ``AttributeError`` for one that is malformed.
        """
        properties = content["properties"]
        box = content.get("bbox")
        if box:
            # Six numbers have heights among them.
            west, south, east, north = map(float, [*box[:2], *box[len(box) // 2 :][:2]])
            box = (west, south, east, north)
        start, end = (properties.get(field) or properties["datetime"] for field in ("start_datetime", "end_datetime"))
        for time in (start, end):
            str_to_datetime(time)
        summaries = {field: properties[field] for field in _SUMMARISED if properties.get(field) is not None}
        if any(isinstance(value, str) == (field == "gsd") for field, value in summaries.items()):
            raise TypeError("a summarised field is of another type")
        hash(tuple(summaries.values()))
        interval = None if (start, end) == _ANY_TIME else (start, end)
        return cls(path.name, _linked(content, name), box or None, interval, summaries)


def write_collection(folder: Path) -> tuple[int, list[str]]:
    """Write the Collection of all products in a folder, and link their Items to it.

    Returns how many there are, and the names of Items that were left out, for they are malformed.
    """
    name = folder.resolve().name or "products"
    entries, malformed = [], []
    for path in sorted(folder.glob("*.json")):
        content = _product_item(path)
        if content is None:
            continue
        try:
            entry = _Entry.of(path, content, name)
        except (LookupError, TypeError, ValueError, AttributeError):
            malformed.append(path.name)
            continue
        if entry.linked != content:
            tiling.write(path, [_text(entry.linked)])
        entries.append(entry)
    tiling.write(folder / COLLECTION, [_text(_collection(name, entries))])
    return len(entries), malformed


def _product_item(path: Path) -> dict[str, Any] | None:
    """Content of the Item of a product that is there; None for other files."""
    try:
        content: dict[str, Any] = json.loads(json_text(path.read_bytes()))
        if content["properties"]["processing:expression"]["format"] != PRODUCT:
            return None
        return content if (path.parent / content["assets"]["data"]["href"]).exists() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _linked(item: dict[str, Any], name: str) -> dict[str, Any]:
    kept = [link for link in item["links"] if link["rel"] not in ("root", "parent", "collection")]
    own = [
        {"rel": rel, "href": f"./{COLLECTION}", "type": "application/json"} for rel in ("root", "parent", "collection")
    ]
    return {**item, "collection": name, "links": [*own, *kept]}


def _collection(name: str, entries: Sequence[_Entry]) -> dict[str, Any]:
    links = [{"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}]
    links += [{"rel": "item", "href": f"./{entry.path}", "type": "application/geo+json"} for entry in entries]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": name,
        "description": _DESCRIPTION,
        "license": "other",
        "keywords": ["super-resolution"],
        "extent": {
            "spatial": {"bbox": _boxes(entries)},
            "temporal": {"interval": [_interval(entries)]},
        },
        "summaries": _summaries(entries),
        "links": links,
    }


def _boxes(entries: Sequence[_Entry]) -> list[list[float]]:
    """Box of all Items; across the antimeridian the whole belt of longitudes."""
    boxes = [entry.box for entry in entries if entry.box is not None]
    if not boxes:
        return [_WORLD]
    west, south, east, north = zip(*boxes, strict=True)
    crosses = any(w > e for w, e in zip(west, east, strict=True))
    return [[-180.0 if crosses else min(west), min(south), 180.0 if crosses else max(east), max(north)]]


def _interval(entries: Sequence[_Entry]) -> list[str | None]:
    """Start and end of all Items; open where no time of acquisition is known."""
    known = [entry.interval for entry in entries if entry.interval is not None]
    return [min(start for start, _ in known), max(end for _, end in known)] if known else [None, None]


def _summaries(entries: Sequence[_Entry]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in _SUMMARISED:
        values = {entry.summaries[field] for entry in entries if field in entry.summaries}
        if values:
            found[field] = sorted(values)
    return found


def _text(content: dict[str, Any]) -> bytes:
    return (catalog.to_json(content, indent=2) + "\n").encode()
