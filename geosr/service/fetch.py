"""STAC Items from allowed hosts, bounded in size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urljoin

import requests
from urllib3.exceptions import HTTPError

from catalog import host_allowed
from geosr.service.problems import Problem

_MOST_BYTES = 5 * 2**20
_MOST_PICTURE_BYTES = 2 * 2**20
_TIMEOUT_S = (10, 30)

_MOST_PLACES = 8


def fetch_item(address: str, hosts: Sequence[str]) -> dict[str, Any]:
    """A STAC Item with absolute addresses of its assets. Raises :class:`Problem`."""
    content, _, final = _fetch(address, hosts, "item", "application/json", _MOST_BYTES)
    try:
        item = json.loads(content)
    except (ValueError, RecursionError):
        item = None
    if not isinstance(item, dict) or item.get("type") != "Feature" or not isinstance(item.get("assets"), dict):
        raise Problem(400, "item: is not a STAC Item")
    return with_absolute_assets(item, final)


def fetch_thumbnail(address: str, hosts: Sequence[str]) -> tuple[bytes, str]:
    """A thumbnail and its media type. Raises :class:`Problem`."""
    content, kind, _ = _fetch(address, hosts, "thumbnail", "image/*", _MOST_PICTURE_BYTES)
    # Neither SVG nor anything else that a browser would run.
    if kind not in ("image/jpeg", "image/png", "image/webp"):
        raise Problem(415, "thumbnail: is not a picture that is passed on")
    return content, kind


def fetch_places(template: str, query: str, hosts: Sequence[str]) -> list[dict[str, Any]]:
    """Names and boxes of places, from a search of Nominatim's form. Raises :class:`Problem`."""
    address = template.replace("{query}", quote(query, safe=""))
    content, _, _ = _fetch(address, hosts, "places", "application/json", _MOST_BYTES)
    try:
        found = json.loads(content)
        return [
            {"name": str(one["display_name"])[:200], "bbox": _box_of(*map(float, one["boundingbox"]))}
            for one in found[:_MOST_PLACES]
        ]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise Problem(502, "places: the search for them answered something else") from error


def _box_of(south: float, north: float, west: float, east: float) -> list[float]:
    if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError("a box that is nowhere")
    return [west, south, east, north]


def with_absolute_assets(item: dict[str, Any], address: str) -> dict[str, Any]:
    """An Item whose assets' addresses are whole; its links are left out."""
    assets = {
        key: {**asset, "href": urljoin(address, str(asset.get("href", "")))}
        for key, asset in item["assets"].items()
        if isinstance(asset, dict)
    }
    return {**item, "assets": assets, "links": []}


def _fetch(address: str, hosts: Sequence[str], what: str, accepted: str, most: int) -> tuple[bytes, str, str]:
    """Content, media type and last address. By way of the proxy, which looks at every redirect as well."""
    if not address.startswith(("http://", "https://")) or not host_allowed(address, hosts):
        raise Problem(403, f"{what}: its host is not one that this service may fetch from")
    try:
        with requests.get(address, timeout=_TIMEOUT_S, stream=True, headers={"Accept": accepted}) as answer:
            if answer.status_code >= 400:
                raise Problem(502, f"{what}: its server answered {answer.status_code}")
            content = answer.raw.read(most + 1, decode_content=True)
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            final = answer.url
    except (requests.RequestException, HTTPError) as error:
        raise Problem(502, f"{what}: cannot be fetched: {type(error).__name__}") from error
    if len(content) > most:
        raise Problem(400, f"{what}: is larger than {most} bytes")
    return content, kind, final
