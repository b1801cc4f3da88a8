"""Scenes of several dates of one place: which one is the reference, and which of the others may help it most."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import shapely
from odc.geo import CRS
from pystac import Item
from shapely.geometry.base import BaseGeometry

from catalog.area import project
from catalog.date_grids import check_as_taken, on_grid_of
from catalog.errors import (
    AreaError,
    RadiometryError,
    ReadError,
    RefusedError,
    RequestError,
    SourceError,
    UnreachableError,
)
from catalog.items import Candidate, candidate, clear_share, footprint, is_item, overpasses, read_items
from catalog.mosaic import mosaic_scenes
from catalog.overpass import near_items, target_crs, usable_items
from catalog.plausibility import judged
from catalog.scene import Scene
from catalog.sensors import band_name
from catalog.sources import (
    SceneRequest,
    cropped,
    distinct_sources,
    file_scene,
    items_scene,
    of_one_sensor,
    refuse_idle,
    search_items,
)

#: Most dates of one image, the reference included.
MOST_DATES = 16

#: Dates that are opened beyond those asked for: a clear tile may be cloudy here, and its date of no use.
SPARE_DATES = 2

#: Files whose times are no further apart are of one date.
_ONE_DATE = dt.timedelta(hours=12)

#: A period longer than this says nothing of the date.
_LONGEST_PERIOD = dt.timedelta(days=3)

#: Usefulness of a clear date of another year, what it gains by being of the same time, and the days over which that
#: fades. As the dates' weights do.
_FAR, _NEAR, _NEAR_DAYS = 0.8, 5.0, 20.0

_DAY_OR_TIME = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2})?)?Z?)?)?)?")


@dataclass(frozen=True)
class DateChoice:
    """Choice of the dates that make one image."""

    count: int | None = None
    """Number of dates, the reference included; None for all that are named."""
    reference: str | None = None
    """The reference: a date, an Item's id, or one of the sources. None for the clearest, of files the first."""
    lenient: bool = False
    """Leave out sources that do not fit the reference instead of refusing them. The reference is then one source, and
    others of its date are not joined to it."""


@dataclass(frozen=True)
class OtherDate:
    """A further date."""

    label: str
    """Its date where that is known and no other date's, or its name."""
    scene: Scene
    """On the reference's grid, with its bands in their order. Beyond its own pixels nothing is measured."""
    days_apart: float | None
    """Days between it and the reference; None where they are not known."""


@dataclass(frozen=True)
class DateSeries:
    """Scenes of several dates of one place."""

    label: str
    """Label of the reference."""
    reference: Scene
    """The date whose product is made."""
    others: tuple[OtherDate, ...]
    """Most useful first, as far as their metadata tell; :data:`SPARE_DATES` more than asked for, where there are."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Labels of dates that cannot take part, and why."""

    def select(self, names: tuple[str, ...]) -> DateSeries:
        """Keep only some bands of all dates.

        Parameters
        ----------
        names
            Names of the bands to keep.

        Returns
        -------
        DateSeries
            Dates with these bands.

        """
        others = tuple(replace(other, scene=other.scene.select(names)) for other in self.others)
        return replace(self, reference=self.reference.select(names), others=others)


@dataclass(frozen=True)
class _Date:
    names: tuple[str, ...]
    """Texts that name it."""
    when: dt.datetime | None
    open: Callable[[], Scene]
    candidates: tuple[Candidate, ...] = ()
    """Its Items; none of a date of files."""


def open_dates(request: SceneRequest, choice: DateChoice) -> DateSeries:
    """Open the dates that a request describes. No pixels are read, but those that the reference is judged by.

    Several files of one date are joined; Items of one overpass are. Named sources that do not fit the reference are
    refused unless the choice is lenient; what a search finds is left out.

    Parameters
    ----------
    request
        Sources or search, area, bands and options.
    choice
        Number of dates, and the reference.

    Returns
    -------
    DateSeries
        The reference and the further dates on its grid.

    Raises
    ------
    CatalogError
        As of :func:`catalog.open_scene`; there are no several dates, or the reference is none of them.

    """
    _check(request, choice)
    dates = _dates_of(request, choice.reference if choice.lenient else None)
    searched = request.source is None
    if len(dates) < 2 and not (searched or choice.lenient):
        raise RequestError(f"{dates[0].names[0]} is the only date: name sources of two dates or more")
    if choice.count is None and len(dates) > MOST_DATES:
        raise RequestError(
            f"there are {len(dates)} dates, and {MOST_DATES} make one image at most: choose with --dates"
        )
    crs, wanted = _ground(request, dates)
    first = _reference(dates, choice.reference, crs, wanted)
    reference = judged(first.open())
    _check_reference(reference)
    if choice.reference is None:
        reference = reference.with_warnings(f"{_label(first, dates)} is the reference: --reference names another date")
    others: list[OtherDate] = []
    left_out: list[tuple[str, str]] = []
    most = len(dates) if choice.count is None else choice.count - 1 + SPARE_DATES
    for date in _ranked([one for one in dates if one is not first], first, crs, wanted):
        if len(others) == most:
            break
        try:
            others.append(_placed(date, reference, first, dates))
        except (UnreachableError, RefusedError):
            raise
        except (SourceError, RadiometryError, AreaError) as error:
            if not (searched or choice.lenient) or isinstance(error, ReadError):
                raise
            left_out.append((_label(date, dates), str(error)))
    return DateSeries(_label(first, dates), reference, tuple(others), tuple(left_out))


def series_of_scenes(reference: Scene, others: Sequence[Scene]) -> DateSeries:
    """Place open scenes on the grid of a reference. No pixels are read; scenes that do not fit it are left out.

    Parameters
    ----------
    reference
        Scene whose product is made.
    others
        Further dates, with the reference's bands or more.

    Returns
    -------
    DateSeries
        The reference and the further dates on its grid, in their order.

    Raises
    ------
    CatalogError
        The reference has no CRS, is a plain image, or was resampled.

    """
    _check_reference(reference)
    dates = [_date_of_scene(scene) for scene in (reference, *others)]
    placed, left_out = [], []
    for date in dates[1:]:
        try:
            placed.append(_placed(date, reference, dates[0], dates))
        except SourceError as error:
            left_out.append((_label(date, dates), str(error)))
    return DateSeries(_label(dates[0], dates), reference, tuple(placed), tuple(left_out))


def _placed(date: _Date, reference: Scene, first: _Date, dates: Sequence[_Date]) -> OtherDate:
    """A further date on the grid of the reference, which is the ``first``. Raises :class:`CatalogError`."""
    return OtherDate(_label(date, dates), on_grid_of(reference, date.open()), _days_apart(first, date))


def _check(request: SceneRequest, choice: DateChoice) -> None:
    if choice.count is not None and not 2 <= choice.count <= MOST_DATES:
        raise RequestError(
            f"--dates is the number of dates that make one image, the reference included, 2 to {MOST_DATES}, and not "
            f"{choice.count}: leave it out for one date"
        )
    if request.source is None and choice.count is None:
        raise RequestError("--reference is one of several dates: say how many of a search with --dates")
    refuse_idle(
        {"fill": request.fill, "crs": request.crs is not None, "acquired": request.acquired is not None},
        "several dates make one image on the reference's own pixels",
    )
    refuse_idle({"plain-image": request.plain_image}, "dates are compared in reflectance")


def _check_reference(scene: Scene) -> None:
    if scene.plain_image:
        raise RequestError(f"{scene.id} is a plain image, and dates are compared in reflectance")
    if scene.geobox.crs is None:
        raise SourceError(f"{scene.id} has no CRS, so nothing tells where other dates lie on it")
    if len({band.gsd_m for band in scene.bands}) > 1:
        raise RequestError(f"{scene.id} has bands of several sampling distances: choose those of one with --bands")
    check_as_taken(scene)


def _dates_of(request: SceneRequest, alone: str | None) -> list[_Date]:
    """Dates of a request, in the order of its sources, of Items the latest first; nothing is joined to ``alone``."""
    if request.source is None:
        return _dates_of_items(request, search_items(request), alone)
    sources = distinct_sources(request, "take dates")
    if is_item(sources[0]):
        return _dates_of_items(request, [item for source in sources for item in read_items(source)], alone)
    groups: list[list[tuple[str, Scene]]] = []
    for source in sources:
        scene = file_scene(request, source)
        own = next((group for group in groups if _one_date(group[0][1], scene)), None)
        if own is None:
            groups.append([(source, scene)])
        else:
            own.append((source, scene))
    groups = [[one for one in group if one[0] == alone] or group for group in groups]
    return [_date_of_files(request, group) for group in groups]


def _date_of_scene(scene: Scene) -> _Date:
    return _Date((scene.id,), _when(scene), lambda: scene)


def _date_of_files(request: SceneRequest, group: Sequence[tuple[str, Scene]]) -> _Date:
    def opened() -> Scene:
        scenes = [scene for _, scene in group]
        scene = scenes[0] if len(scenes) == 1 else mosaic_scenes(scenes, whole=request.area is None)
        return cropped(scene, request, scene.id)

    names = [name for source, scene in group for name in (scene.id, source, Path(source).name, *_absolute(source))]
    return _Date(tuple(names), _when(group[0][1]), opened)


def _dates_of_items(request: SceneRequest, items: Sequence[Item], alone: str | None) -> list[_Date]:
    chosen = of_one_sensor(request, items)
    sensor = chosen.given.sensor
    bands = [band_name(band, sensor) or band for band in chosen.bands]
    found = usable_items(
        chosen.items,
        [],
        partial(candidate, bands=bands, scale=chosen.given.scale, offset=chosen.given.offset, sensor=sensor),
    )
    dates = []
    own = set() if alone is None else {alone, *_absolute(alone)}
    for group in overpasses(found):
        group = [one for one in group if own & set(_names_of(one))] or group
        names = [name for one in group for name in _names_of(one)]
        opened = partial(items_scene, request, [one.item for one in group])
        dates.append(_Date(tuple(names), group[0].datetime, opened, tuple(group)))
    return dates


def _names_of(one: Candidate) -> tuple[str, ...]:
    href = one.item.get_self_href() or one.item.id
    return (one.item.id, href, Path(href).name, Path(href).stem, *_absolute(href))


def _absolute(source: str) -> tuple[str, ...]:
    return () if "://" in source else (str(Path(source).absolute()),)


def _one_date(one: Scene, other: Scene) -> bool:
    first, second = _when(one), _when(other)
    return first is not None and second is not None and abs(first - second) <= _ONE_DATE


def _when(scene: Scene) -> dt.datetime | None:
    """Time of a scene, the middle of a short period where that is all that is known."""
    if scene.datetime is not None or scene.period is None:
        return scene.datetime
    start, end = scene.period
    return start + (end - start) / 2 if end - start <= _LONGEST_PERIOD else None


def _ground(request: SceneRequest, dates: Sequence[_Date]) -> tuple[CRS | None, BaseGeometry | None]:
    """CRS of Items, and the ground in it whose clouds count; None for files."""
    candidates = [one for date in dates for one in date.candidates]
    if not candidates:
        return None, None
    near = None if request.area is None else near_items(request.area, candidates)
    crs = target_crs(candidates, near, None, [])
    if request.area is not None:
        return crs, project(request.area, crs)
    return crs, shapely.union_all([footprint(one, crs) for one in candidates])


def _shares(date: _Date, crs: CRS | None, wanted: BaseGeometry | None) -> tuple[float, float]:
    """Shares of the ground that a date covers, and that it covers without clouds, as its metadata tell."""
    return (1.0, 1.0) if crs is None or wanted is None else clear_share(date.candidates, wanted, crs)


def _reference(dates: Sequence[_Date], asked: str | None, crs: CRS | None, wanted: BaseGeometry | None) -> _Date:
    if asked is None:
        return max(dates, key=lambda date: round(_shares(date, crs, wanted)[1], 3))
    texts = {asked, *_absolute(asked)}
    named = [date for date in dates if texts & set(date.names)]
    if not named and _DAY_OR_TIME.fullmatch(asked):
        told = asked.rstrip("Z")
        named = [date for date in dates if date.when is not None and date.when.isoformat().startswith(told)]
    if len(named) != 1:
        known = ", ".join(_label(date, dates) for date in sorted(dates, key=_order)[:MOST_DATES])
        what = "several" if named else "none"
        raise RequestError(f"the reference {asked} is {what} of the dates: name one of {known}")
    return named[0]


def _order(date: _Date) -> str:
    return "" if date.when is None else date.when.isoformat()


def _ranked(others: Sequence[_Date], reference: _Date, crs: CRS | None, wanted: BaseGeometry | None) -> list[_Date]:
    """Dates by what they may bring: clear ground of the reference, and nearness in time."""
    if crs is not None and wanted is not None:
        own = shapely.union_all([footprint(one, crs) for one in reference.candidates])
        wanted = own.intersection(wanted)

    def useful(date: _Date) -> float:
        days = _days_apart(reference, date)
        near = 0.0 if days is None else _NEAR * math.exp(-days / _NEAR_DAYS)
        return _shares(date, crs, wanted)[1] * (_FAR + near)

    # Sorting is stable: of equal ones the order is theirs.
    return sorted(others, key=useful, reverse=True)


def _days_apart(one: _Date, other: _Date) -> float | None:
    if one.when is None or other.when is None:
        return None
    return abs((one.when - other.when) / dt.timedelta(days=1))


def _label(date: _Date, dates: Sequence[_Date]) -> str:
    if date.when is None:
        return date.names[0]
    day = f"{date.when:%Y-%m-%d}"
    same = sum(one.when is not None and f"{one.when:%Y-%m-%d}" == day for one in dates)
    return day if same == 1 else f"{day} {date.names[0]}"
