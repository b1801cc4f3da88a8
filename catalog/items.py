"""STAC Items: reading them, finding their bands, grids and footprints, and telling overpasses apart."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pystac
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from catalog.area import footprint_of, project, unwrap
from catalog.errors import CatalogError, SourceError
from catalog.grids import finest
from catalog.item_bands import BandAsset, find_band
from catalog.item_grids import checked_grid, grid_of
from catalog.paths import local_path, without_queries, without_query
from catalog.sensors import SensorProfile
from catalog.web import PatientStacIO

#: Items of one platform whose times differ by less than this belong to one overpass: a datatake lasts minutes, the
#: next orbit is 100 minutes later.
_OVERPASS = dt.timedelta(minutes=20)

#: Characters at the start of a text that tell what it is.
_LONGEST_START = 200

#: Two Items of one tile and time are versions of each other when they share this much of the smaller; otherwise they
#: are its halves, from two downlinks.
_SAME_GROUND = 0.5

#: Endings of files that are no Items, although the servers of Items keep them at addresses below those.
_RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg", ".nc", ".h5", ".hdf", ".img", ".zip")


@dataclass(frozen=True)
class Candidate:
    """An Item that holds the bands asked for."""

    item: pystac.Item
    assets: tuple[BandAsset, ...]
    grid: GeoBox
    """Grid of its bands, of the finest where they have several."""
    ground: BaseGeometry
    """Footprint of its data, degrees; in one piece across the antimeridian."""

    @property
    def datetime(self) -> dt.datetime:
        return item_time(self.item)

    @property
    def period(self) -> tuple[dt.datetime, dt.datetime] | None:
        """Start and end of what an Item without a time of its own was made of; None where it does not tell both."""
        told = self.item.common_metadata
        if self.item.datetime is not None or told.start_datetime is None or told.end_datetime is None:
            return None
        return _in_utc(told.start_datetime), _in_utc(told.end_datetime)

    @property
    def crs(self) -> CRS:
        found = self.grid.crs
        if found is None:
            raise SourceError(f"Item {self.item.id} has no CRS")
        return found

    @property
    def cloud_share(self) -> float:
        """Cloud cover, 0 to 1; an Item that does not say counts as clear."""
        return float(self.item.properties.get("eo:cloud_cover") or 0) / 100

    def href(self, asset: BandAsset) -> str:
        """Path or URL of an asset's raster, as GDAL takes it."""
        return local_path(self.item.assets[asset.key].href)


def read_items(source: str) -> list[pystac.Item]:
    """The STAC Items of a path or URL, with absolute asset addresses: one Item, or a search's answer with several.

    Raises :class:`SourceError`.
    """
    address = without_query(source)
    stac_io = PatientStacIO()
    href = source if "://" in source else str(Path(source).absolute())
    try:
        content = _parsed(stac_io.read_text_from_href(href))
        features = _features(content, address)
        several = features[0] is not content
        items = [
            pystac.Item.from_dict(
                one, href=(_own_address(one) if several else None) or href, migrate=True, preserve_dict=False
            )
            for one in features
        ]
        for item in items:
            item.make_asset_hrefs_absolute()
    except CatalogError:
        raise
    except RecursionError as error:
        raise SourceError(f"{address} is not a STAC Item that can be read: it is nested too deeply") from error
    except Exception as error:
        # Whatever is wrong with foreign JSON or a foreign server surfaces here, as any of a dozen exceptions.
        raise SourceError(f"{address} is not a STAC Item that can be read: {first_line(error)}") from error
    return items


def read_item(source: str) -> pystac.Item:
    """The one STAC Item of a path or URL, see :func:`read_items`. Raises :class:`SourceError`."""
    items = read_items(source)
    if len(items) > 1:
        raise SourceError(
            f"{without_query(source)} holds {len(items)} STAC Items, and one is needed: name it by itself"
        )
    return items[0]


def _parsed(text: str) -> Any:
    """Parse JSON. Raises :class:`ValueError` that says what a text without any is."""
    try:
        return json.loads(text)
    except ValueError:
        start = text[:_LONGEST_START].lstrip()
        if not start:
            raise ValueError("it is empty") from None
        if start.lower().startswith(("<!doctype html", "<html")):
            raise ValueError("it is a web page (HTML), as of a login or a proxy") from None
        raise


def _own_address(content: dict[str, Any]) -> str | None:
    """Return an Item's own link, if that is an absolute address."""
    links = content.get("links") or []
    return next((link["href"] for link in links if link.get("rel") == "self" and "://" in link.get("href", "")), None)


def _features(content: Any, address: str) -> list[dict[str, Any]]:
    """The Items in a JSON document. Raises :class:`SourceError` for a document of anything else, saying of what."""
    kind = content.get("type") if isinstance(content, dict) else None
    if kind in ("Collection", "Catalog"):
        raise SourceError(
            f"{address} is a STAC {kind} and not an Item: name one of its Items, or search an API with --api and "
            "--collection"
        )
    found = content.get("features") if kind == "FeatureCollection" else [content]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SourceError(f"{address} is not a STAC Item: it holds no GeoJSON Feature")
    if not found:
        raise SourceError(f"{address} is a collection of STAC Items that holds none")
    if not any("assets" in one or "stac_version" in one for one in found):
        raise SourceError(
            f"{address} is not a STAC Item: its JSON has neither assets nor stac_version. --aoi takes GeoJSON areas"
        )
    return found


def is_item(source: str) -> bool:
    """Tell whether a path or URL is that of a STAC Item rather than of a raster."""
    try:
        parsed = urlparse(source)
    except ValueError:
        return False
    suffix = Path(parsed.path).suffix.lower()
    if suffix in (".json", ".geojson"):
        return True
    return suffix not in _RASTER_SUFFIXES and parsed.scheme in ("http", "https") and "/items/" in parsed.path


def candidate(
    item: pystac.Item,
    bands: Sequence[str],
    *,
    scale: float | None = None,
    offset: float | None = None,
    sensor: SensorProfile | None = None,
) -> Candidate:
    """The Item with its assets for ``bands``, by the names of ``sensor`` or else by ESA's.

    ``scale`` and ``offset`` override what it says of them.

    Raises :class:`SourceError` when a band is missing, bands' grids do not fit one another, or the Item is malformed,
    and :class:`RadiometryError` when nothing tells how its DN become reflectance.
    """
    try:
        content = item.to_dict(include_self_link=False, transform_hrefs=False)
        assets = tuple(find_band(content, band, scale, offset, sensor) for band in bands)
        grids = {asset.key: grid_of(item, asset.key) for asset in assets}
        grid, spans = _finest(item, bands, list(grids.values()))
        span_of = dict(zip(grids, spans, strict=True))
        assets = tuple(replace(asset, span=span_of[asset.key]) for asset in assets)
        one = Candidate(item, assets, grid, ground_of(item, grid))
        _ = one.datetime, one.period, one.cloud_share
    except CatalogError:
        raise
    except Exception as error:
        # Items are foreign data: fields of any type can stand anywhere in them.
        raise SourceError(f"Item {item.id} is malformed: {first_line(error)}") from error
    return one


def _finest(item: pystac.Item, bands: Sequence[str], grids: Sequence[GeoBox]) -> tuple[GeoBox, tuple[int, ...]]:
    try:
        return finest(grids)
    except ValueError as error:
        raise SourceError(f"Item {item.id} has {', '.join(bands)} on {error}: ask for others") from error


def as_filed(one: Candidate, notes: list[str]) -> Candidate:
    """The Candidate on the grids that its files have, with a note where the Item tells others.

    Raises :class:`SourceError`.
    """
    grids: dict[str, GeoBox] = {}
    told: dict[str, list[str]] = {}
    for key in dict.fromkeys(asset.key for asset in one.assets):
        grids[key], other = checked_grid(one.item, key)
        if other is not None:
            told.setdefault(other, []).append(key)
    for other, keys in told.items():
        notes.append(f"Item {one.item.id} tells {other} of {', '.join(keys)}: the files are believed")
    grid, spans = _finest(one.item, list(grids), list(grids.values()))
    span_of = dict(zip(grids, spans, strict=True))
    return replace(one, grid=grid, assets=tuple(replace(asset, span=span_of[asset.key]) for asset in one.assets))


def _in_utc(found: dt.datetime) -> dt.datetime:
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def footprint(one: Candidate, crs: CRS) -> BaseGeometry:
    """Footprint of the Item's data in ``crs``."""
    return project(one.ground, crs)


def ground_of(item: pystac.Item, grid: GeoBox | None = None) -> BaseGeometry:
    """Footprint of an Item's data, degrees: its geometry, or its whole grid if it has none, or one beyond Earth."""
    if item.geometry is not None:
        told = shapely.force_2d(shape(item.geometry))
        # Longitudes may count on, a turn beyond the antimeridian.
        lon, lat = shapely.get_coordinates(told).T
        if lon.size and (abs(lon) <= 540).all() and (abs(lat) <= 90).all():
            # Unwrapped first: a ring that jumps at the antimeridian crosses itself, and as it is would lose ground.
            return shapely.make_valid(unwrap(told))
    return footprint_of(grid) if grid is not None else shapely.box(-180, -90, 180, 90)


def overpasses(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates of one satellite within minutes, latest first; of one tile's versions only the newest."""
    groups = by_overpass([one.item for one in candidates])
    return [_newest_versions([candidates[i] for i in group]) for group in reversed(groups)]


def by_overpass(items: Sequence[pystac.Item]) -> list[list[int]]:
    """Group the positions of Items of one satellite within minutes, earliest first.

    Raises :class:`SourceError` for an Item without a time.
    """
    times = [item_time(item) for item in items]
    groups: list[list[int]] = []
    for i in sorted(range(len(items)), key=lambda i: times[i]):
        platform = items[i].properties.get("platform")
        for group in groups:
            same = items[group[0]].properties.get("platform") == platform
            if same and times[i] - times[group[0]] < _OVERPASS:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def item_time(item: pystac.Item) -> dt.datetime:
    """Time of an Item, or the start of its period, in UTC. Raises :class:`SourceError` for one without."""
    found = item.datetime or item.common_metadata.start_datetime
    if found is None:
        raise SourceError(f"Item {item.id} has neither datetime nor start_datetime")
    return _in_utc(found)


def clear_share(group: Sequence[Candidate], area: BaseGeometry, crs: CRS) -> tuple[float, float]:
    """Shares of an area (in ``crs``) that an overpass covers, and that it covers without clouds."""
    covered = shapely.union_all([footprint(one, crs) for one in group]).intersection(area).area
    if covered == 0:
        return 0.0, 0.0
    parts = [(footprint(one, crs).intersection(area).area, one.cloud_share) for one in group]
    cloudy = sum(size * clouds for size, clouds in parts) / sum(size for size, _ in parts)
    share = covered / area.area
    return share, share * (1 - cloudy)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text for a message, without Python's own texts on types."""
    if isinstance(error, AttributeError | TypeError):
        return "a field of it is not of the type that STAC has there"
    if isinstance(error, KeyError):
        return f"a part of it has no {error}"
    lines = without_queries(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _newest_versions(group: Sequence[Candidate]) -> list[Candidate]:
    kept: list[Candidate] = []
    for one in sorted(group, key=_version, reverse=True):
        if not any(_same_product(one, other) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda c: (c.cloud_share, c.item.id))


def _same_product(one: Candidate, other: Candidate) -> bool:
    """Tell whether two Items are versions of one product: the same tile, second and ground."""
    if one.grid != other.grid or one.datetime.replace(microsecond=0) != other.datetime.replace(microsecond=0):
        return False
    first, second = footprint(one, one.crs), footprint(other, one.crs)
    return bool(first.intersection(second).area > _SAME_GROUND * min(first.area, second.area))


def _version(one: Candidate) -> tuple[str, str, str]:
    properties = one.item.properties
    baseline = str(properties.get("s2:processing_baseline") or properties.get("processing:version") or "")
    return baseline, str(properties.get("updated") or properties.get("created") or ""), one.item.id
