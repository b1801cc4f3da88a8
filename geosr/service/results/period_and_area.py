"""Search of results and jobs by periods of time and areas in degrees."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geosr.service.request_types import box_in_order

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


@dataclass(frozen=True)
class Period:
    """Time between two instants, both included; None where it is open."""

    begin: dt.datetime | None
    end: dt.datetime | None

    def overlaps(self, other: Period) -> bool:
        """Tell whether two periods have a time in common."""
        return _in_order(self.begin, other.end) and _in_order(other.begin, self.end)


def parse_period(text: str) -> Period:
    """An instant, or two with ``/`` between them, as OGC and STAC have it.

    A date, a month or a year is all of it, and times without a zone are UTC. Of two, either may be the earlier.
    """
    first, slash, last = ordered(text).partition("/")
    if not slash:
        return _period_of(first)
    begin = None if first == ".." else _period_of(first).begin
    end = None if last == ".." else _period_of(last).end
    return Period(begin, end)


def ordered(text: str) -> str:
    """A period whose earlier instant comes first, and whose open end is ``..``."""
    first, slash, last = text.partition("/")
    if not slash:
        return text
    first, last = first or "..", last or ".."
    if ".." in (first, last) or _in_order(_period_of(first).begin, _period_of(last).end):
        return f"{first}/{last}"
    return f"{last}/{first}"


def period_of_item(properties: Mapping[str, Any]) -> Period | None:
    """Time at which a STAC Item was taken, or the period that it gives instead."""
    if properties.get("datetime") is not None:
        moment = _instant(properties["datetime"])
        return Period(moment, moment)
    begin, end = (
        None if properties.get(name) is None else _instant(properties[name])
        for name in ("start_datetime", "end_datetime")
    )
    return None if begin is None and end is None else Period(begin, end)


def parse_box(text: str) -> list[float]:
    """``west,south,east,north``."""
    return [float(part) for part in text.split(",")]


def area_of_box(box: Sequence[float]) -> BaseGeometry:
    """A box with or without heights; of two parts where its west is east of its east, across the antimeridian.

    South and north may stand in either order.
    """
    half = len(box) // 2
    west, south, east, north = box_in_order(box[0], box[1], box[half], box[half + 1])
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union_all([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])


def area_of_geojson(geometry: Mapping[str, Any]) -> BaseGeometry:
    """A geometry whose form was checked (:mod:`geosr.service.geojson`), without its heights."""
    if geometry["type"] == "GeometryCollection":
        return shapely.geometry.GeometryCollection([area_of_geojson(one) for one in geometry["geometries"]])
    return shapely.geometry.shape({**geometry, "coordinates": _without_heights(geometry["coordinates"])})


def _without_heights(coordinates: Sequence[Any]) -> list[Any]:
    if isinstance(coordinates[0], int | float):
        return list(coordinates[:2])
    return [_without_heights(one) for one in coordinates]


def _in_order(first: dt.datetime | None, second: dt.datetime | None) -> bool:
    return first is None or second is None or first <= second


def _period_of(text: str) -> Period:
    """Period of a date, a month, a year or an instant."""
    date = _DATE.fullmatch(text)
    if date is None:
        moment = _instant(text)
        return Period(moment, moment)
    year, month, day = (None if part is None else int(part) for part in date.groups())
    begin = dt.datetime(year or 0, month or 1, day or 1, tzinfo=dt.UTC)
    last_month = month or 12
    last_day = day or calendar.monthrange(begin.year, last_month)[1]
    return Period(begin, dt.datetime(begin.year, last_month, last_day, 23, 59, 59, 999_999, tzinfo=dt.UTC))


def _instant(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
