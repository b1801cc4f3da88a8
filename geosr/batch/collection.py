"""A folder of products as a STAC Collection: its Items lead to it and it to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import catalog
import tiling

COLLECTION = "collection.json"

_DESCRIPTION = "Super-resolved scenes, made with geosr batch. Detail finer than the sources' resolution is estimated."

#: Interval of Items whose time of acquisition is not known at all.
_ANY_TIME = ("1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z")

_WORLD = [-180.0, -90.0, 180.0, 90.0]


def write_collection(folder: Path) -> int:
    """Write the Collection of all products in a folder, and link their Items to it; returns how many there are."""
    name = folder.resolve().name or "products"
    items = []
    for path in sorted(folder.glob("*.json")):
        content = _product_item(path)
        if content is None:
            continue
        linked = _linked(content, name)
        if linked != content:
            tiling.write(path, [_text(linked)])
        items.append((path.name, linked))
    tiling.write(folder / COLLECTION, [_text(_collection(name, items))])
    return len(items)


def _product_item(path: Path) -> dict[str, Any] | None:
    """Content of the Item of a product that is there; None for other files."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["properties"]["processing:expression"]["format"] != "geosr":
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


def _collection(name: str, items: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    contents = [content for _, content in items]
    links = [{"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}]
    links += [{"rel": "item", "href": f"./{path}", "type": "application/geo+json"} for path, _ in items]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": name,
        "description": _DESCRIPTION,
        "license": "other",
        "keywords": ["super-resolution"],
        "extent": {
            "spatial": {"bbox": _boxes(contents)},
            "temporal": {"interval": [_interval(contents)]},
        },
        "summaries": _summaries(contents),
        "links": links,
    }


def _boxes(items: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Box of all Items; across the antimeridian the whole belt of longitudes."""
    boxes = [item["bbox"] for item in items if item.get("bbox")]
    if not boxes:
        return [_WORLD]
    west, south, east, north = zip(*boxes, strict=True)
    crosses = any(w > e for w, e in zip(west, east, strict=True))
    return [[-180.0 if crosses else min(west), min(south), 180.0 if crosses else max(east), max(north)]]


def _interval(items: Sequence[dict[str, Any]]) -> list[str | None]:
    """Start and end of all Items; open where no time of acquisition is known."""
    starts, ends = [], []
    for properties in (item["properties"] for item in items):
        start, end = (properties.get(field) or properties["datetime"] for field in ("start_datetime", "end_datetime"))
        if (start, end) != _ANY_TIME:
            starts.append(start)
            ends.append(end)
    return [min(starts), max(ends)] if starts else [None, None]


def _summaries(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in ("gsd", "platform", "constellation", "proj:code"):
        values = {item["properties"][field] for item in items if item["properties"].get(field) is not None}
        if values:
            found[field] = sorted(values)
    return found


def _text(content: dict[str, Any]) -> bytes:
    return (catalog.to_json(content, indent=2) + "\n").encode()
