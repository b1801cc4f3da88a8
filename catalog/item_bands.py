"""The bands of a STAC Item: which instrument's they are, which asset holds each, and how its DN become reflectance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog import radiometry
from catalog.errors import RequestError, SourceError
from catalog.radiometry import Radiometry
from catalog.sensors import SensorProfile, band_name, read_sensor, sensor_names
from catalog.sentinel2 import is_sentinel2

#: Collections and product names whose DN their makers have published once for all, and the profile with these numbers:
#: USGS Landsat Collection 2 Level-2 (also in the catalogues of Microsoft, Element 84 and Digital Earth Africa), and
#: NASA's Harmonized Landsat Sentinel-2.
_PUBLISHED = (
    (re.compile(r"^HLS[._-]?S30\b|HLSS30|^hls2?-s30", re.IGNORECASE), "hls-s30"),
    (re.compile(r"^HLS[._-]?L30\b|HLSL30|^hls2?-l30", re.IGNORECASE), "hls-l30"),
    (re.compile(r"^L[CO]0[89]_L2S[PR]_\d{6}_\d{8}_(?:\d{8}_)?02_"), "landsat-oli"),
    (re.compile(r"^L[TE]0[457]_L2S[PR]_\d{6}_\d{8}_(?:\d{8}_)?02_"), "landsat-tm"),
    (re.compile(r"^ls[89]_sr$"), "landsat-oli"),
    (re.compile(r"^ls[457]_sr$"), "landsat-tm"),
)

#: Collections of all Landsat satellites, whose bands differ.
_LANDSAT = re.compile(r"^landsat-(?:[4-9]-)?c2-?(?:l2|ard)", re.IGNORECASE)
_LANDSAT_PLATFORM = re.compile(r"^landsat[-_ ]?0?([4-9])$", re.IGNORECASE)


@dataclass(frozen=True)
class BandAsset:
    """Location of a band in an Item."""

    key: str
    """Key of the asset."""
    index: int
    """Band of the asset's raster, from 1."""
    radiometry: Radiometry
    nodata: float | None = None
    """DN without measurement that the Item declares."""
    span: int = 1
    """Pixels of the Item's grid that one of the band's own spans along an axis."""


def sensor_of_item(item: Mapping[str, Any]) -> SensorProfile | None:
    """The profile of an Item (as a dictionary) of a known collection; None for any other, and for Sentinel-2."""
    collection, name = str(item.get("collection") or ""), str(item.get("id") or "")
    for pattern, sensor in _PUBLISHED:
        if pattern.search(collection) or pattern.search(name):
            return read_sensor(sensor)
    platform = _LANDSAT_PLATFORM.match(str((item.get("properties") or {}).get("platform") or ""))
    if _LANDSAT.match(collection) and platform is not None:
        return read_sensor("landsat-oli" if platform[1] in "89" else "landsat-tm")
    return None


def check_sensor(item: Mapping[str, Any], sensor: SensorProfile) -> None:
    """Refuse a profile for an Item (as a dictionary) of another instrument: bands of the same name are others there.

    Raises :class:`RequestError`.
    """
    own = sensor_of_item(item)
    name = own.name if own is not None else "sentinel-2" if is_sentinel2(item) else None
    if name is not None and name != sensor.name and sensor.name in sensor_names():
        raise RequestError(f"Item {item.get('id')} is of {name}, and not of {sensor.name}: leave --sensor out")


def find_band(
    item: Mapping[str, Any], band: str, scale: float | None, offset: float | None, sensor: SensorProfile | None
) -> BandAsset:
    """The finest asset of an Item (as a dictionary) that holds a band, by its sensor's name or ESA's.

    ``scale`` and ``offset`` override what the Item says of it. Raises :class:`SourceError` where there is none, and
    :class:`catalog.errors.RadiometryError` when nothing tells how its DN become reflectance.
    """
    found = []
    for key, asset in item.get("assets", {}).items():
        index = _index_in_asset(key, asset, band, sensor)
        if index is not None:
            found.append((_preference(key, asset, item), key, index))
    if not found:
        of_sensor = "" if sensor is None else f" of {sensor.name}"
        raise SourceError(
            f"Item {item.get('id')} has no asset for band {band}{of_sensor}: its assets are {', '.join(item['assets'])}"
        )
    _, key, number = min(found)
    decided = radiometry.of_item(item, key, number, sensor=sensor, scale=scale, offset=offset)
    return BandAsset(key, number, decided, _nodata_of(item["assets"][key], number))


def _nodata_of(asset: Mapping[str, Any], number: int) -> float | None:
    """Nodata that an asset declares for a band (from 1), in STAC 1.1's fields or the older raster extension's."""
    described = (asset.get(field, [])[number - 1 : number] for field in ("bands", "raster:bands"))
    holders = [*(band for bands in described for band in bands), asset]
    return next((float(holder["nodata"]) for holder in holders if holder.get("nodata") is not None), None)


def _index_in_asset(key: str, asset: Mapping[str, Any], band: str, sensor: SensorProfile | None) -> int | None:
    """Position of a band in an asset, from 1."""
    described = asset.get("bands") or asset.get("eo:bands") or []
    if len(described) <= 1:
        if band_name(re.sub(r"[-_](jp2|cog)$", "", key), sensor) == band:
            return 1
        named = described and _names_of(described[0], sensor) == band
        return 1 if named and "data" in asset.get("roles", ["data"]) else None
    if key in ("visual", "thumbnail", "overview", "preview", "TCI") or "visual" in asset.get("roles", []):
        return None
    for index, one in enumerate(described, start=1):
        if _names_of(one, sensor) == band:
            return index
    return None


def _names_of(described: Mapping[str, Any], sensor: SensorProfile | None) -> str | None:
    """The band that an Item describes: by its name, or, where that is the catalogue's own, by its common name."""
    for field in ("name", "eo:common_name", "common_name"):
        found = band_name(str(described.get(field) or ""), sensor)
        if found is not None:
            return found
    return None


def _preference(key: str, asset: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[float, bool]:
    """Finest first; then anything before JPEG 2000, which is slow to read in pieces."""
    transform = asset.get("proj:transform") or item.get("properties", {}).get("proj:transform")
    suffix = re.search(r"_(\d+)m$", key)
    gsd = float(suffix[1]) if suffix else abs(float(transform[0])) if transform else float(asset.get("gsd", 0))
    return gsd, "jp2" in str(asset.get("type", "")) or key.endswith("jp2")
