"""Search of results and jobs by periods of time and areas in degrees."""

from __future__ import annotations

import calendar
import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geosr.service.problems import Problem

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

    A date, a month or a year is all of it, and times without a zone are UTC. Raises :class:`Problem`.
    """
    first, slash, last = (part.strip() for part in text.partition("/"))
    try:
        if not slash:
            return _period_of(first)
        begin = None if first in ("", "..") else _period_of(first).begin
        end = None if last in ("", "..") else _period_of(last).end
    except ValueError:
        raise Problem(400, "datetime: give an instant, or two with / between them") from None
    if not _in_order(begin, end):
        raise Problem(400, "datetime: the period ends before it begins")
    return Period(begin, end)


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
    """``west,south,east,north``. Raises :class:`Problem`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise _no_box() from None


def area_of_box(box: Sequence[float]) -> BaseGeometry:
    """A box with or without heights; of two parts where its west is east of its east, across the antimeridian.

    Raises :class:`Problem`.
    """
    if len(box) not in (4, 6) or not all(map(math.isfinite, box)):
        raise _no_box()
    half = len(box) // 2
    west, south, east, north = box[0], box[1], box[half], box[half + 1]
    if south > north:
        raise Problem(400, "bbox: its south is north of its north")
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union_all([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])


def area_of_geojson(geometry: Mapping[str, Any]) -> BaseGeometry:
    """A GeoJSON geometry. Raises :class:`Problem`."""
    try:
        area = shapely.geometry.shape(geometry)
    except (AttributeError, LookupError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise Problem(400, f"intersects: is no geometry of GeoJSON: {error}") from error
    # An empty one has bounds that are no numbers.
    if not all(map(math.isfinite, area.bounds)):
        raise Problem(400, "intersects: the geometry is empty, or has coordinates that are no numbers")
    return area


def _no_box() -> Problem:
    return Problem(400, "bbox: give west,south,east,north in degrees")


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
