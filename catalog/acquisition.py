"""When a raster was acquired: as its metadata or its product's name say, and never by the file's own clock."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rasterio.io import DatasetReader

from catalog.errors import RequestError

#: Metadata that hold the time of acquisition, lower case: of GDAL's drivers for satellites, HLS, ESA, Earth Engine and
#: CF conventions.
_TIMES = (
    "acquisitiondatetime",
    "acquisition_datetime",
    "acquisition_time",
    "acquired",
    "sensing_time",
    "datatake_sensing_start",
    "datatake_1_datatake_sensing_start",
    "product_start_time",
    "start_time",
    "time_coverage_start",
    "system:time_start",
    "system_time_start",
    "datetime",
    "date_time",
    "acquisition_date",
    "acquisitiondate",
    "date_acquired",
)

#: Days and the times on them that stand apart.
_PAIRS = (("date_acquired", "scene_center_time"), ("rangebeginningdate", "rangebeginningtime"))

#: TIFF's own field. By the standard it is when the image was made, so whatever else is known comes before it.
_TIFF_TIME = "tifftag_datetime"

#: Names of products and of their files: of Sentinel-2 (ESA's and Earth Search's), HLS, Landsat and PlanetScope.
_NAMES = (
    re.compile(r"S2[A-D]_MSI\w{3}_(\d{8}T\d{6})_"),
    re.compile(r"S2[A-D]_OPER_\w+_V(\d{8}T\d{6})"),
    re.compile(r"(?<![A-Z0-9])L?T?\d{2}[C-X][A-Z]{2}_(\d{8}T\d{6})(?![0-9])"),
    re.compile(r"S2[A-D]_\d{1,2}[C-X][A-Z]{2}_(\d{8})_\d+_L[12][AC]"),
    re.compile(r"HLS\.[LS]30\.T\d{2}[C-X][A-Z]{2}\.(\d{7}T\d{6})"),
    re.compile(r"L[COTEM]0\d_L[12][A-Z]{2}_\d{6}_(\d{8})(?![0-9])"),
    re.compile(r"(?<![0-9])(\d{8}_\d{6})_(?:\d{2}_)?[0-9a-f]{4}_(?:1B|3A|3B)"),
    # A file that is named by nothing but its day, as those of a series are.
    re.compile(r"^(\d{4}-\d{2}-\d{2})\.\w+$"),
)

_FORMS = (
    "%Y:%m:%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y%m%d_%H%M%S",
)
_DAY_FORMS = ("%Y-%m-%d", "%Y%m%d", "%Y:%m:%d", "%Y/%m/%d")

#: Before the first satellite that looked at land.
_FIRST = dt.datetime(1972, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Acquisition:
    """Time of acquisition, UTC: an interval, whose ends are equal if the time is known to the second."""

    start: dt.datetime
    """Start of the interval."""
    end: dt.datetime
    """End of the interval."""
    told_by: str
    """Source of the time."""

    @property
    def instant(self) -> dt.datetime | None:
        """The time itself; None where only a period is known."""
        return self.start if self.start == self.end else None

    @property
    def period(self) -> tuple[dt.datetime, dt.datetime] | None:
        """The period; None where the time itself is known."""
        return None if self.start == self.end else (self.start, self.end)


def parse_acquired(text: str) -> Acquisition:
    """Parse a time of acquisition that a user gives.

    Parameters
    ----------
    text
        A day, ``2023-08-15``, or a time, ``2023-08-15T10:00:31Z``; UTC if it names no zone.

    Returns
    -------
    Acquisition
        The day or the time.

    Raises
    ------
    RequestError
        The text is malformed.

    Examples
    --------
    >>> parse_acquired("2023-08-15T12:00:31+02:00").instant.isoformat()
    '2023-08-15T10:00:31+00:00'

    """
    found = _parse(text)
    if found is None:
        raise RequestError(f"not a time of acquisition: {text!r}; give 2023-08-15 or 2023-08-15T10:00:31Z")
    return Acquisition(*found, "the user")


def acquisition_of(raster: DatasetReader, path: str) -> Acquisition | None:
    """Find the time of acquisition in a raster's metadata or path; None if neither tells."""
    tags = _lowered(raster.tags()) | _lowered(raster.tags(ns="IMAGERY"))
    bands = [_lowered(raster.tags(i)) for i in raster.indexes]
    return _from_tags([tags]) or _from_tags(bands) or _from_name(path) or _from_tiff([tags, *bands])


def _lowered(tags: Mapping[str, str]) -> dict[str, str]:
    """Metadata with names in lower case. GDAL ends a name at its first colon, as that of ``system:time_start``."""
    found: dict[str, str] = {}
    for key, value in tags.items():
        inner, equals, rest = value.partition("=")
        found |= {key.lower(): value} | ({f"{key}:{inner}".lower(): rest} if equals else {})
    return found


def _from_tags(holders: Iterable[Mapping[str, str]]) -> Acquisition | None:
    """From the first field that tells, of all bands together."""
    holders = list(holders)
    for day, time in _PAIRS:
        found = [_parse(f"{one[day]}T{one[time]}") for one in holders if day in one and time in one]
        if (acquired := _together(found, day)) is not None:
            return acquired
    for name in _TIMES:
        found = [_parse(part) for one in holders if name in one for part in one[name].split(";")]
        if (acquired := _together(found, name)) is not None:
            return acquired
    return None


def _from_tiff(holders: Iterable[Mapping[str, str]]) -> Acquisition | None:
    return _together([_parse(one[_TIFF_TIME]) for one in holders if _TIFF_TIME in one], "TIFFTAG_DATETIME")


def _from_name(path: str) -> Acquisition | None:
    """From the innermost part of a path that is the name of a product."""
    for part in reversed(re.split(r"[/\\]", path.partition("?")[0])):
        for pattern in _NAMES:
            match = pattern.search(part)
            if match is not None and (acquired := _together([_parse(match[1])], "its name")) is not None:
                return acquired
    return None


def _together(found: Iterable[tuple[dt.datetime, dt.datetime] | None], told_by: str) -> Acquisition | None:
    """From the first to the last; None where one of them is no time, or there is none."""
    periods = list(found)
    known = [period for period in periods if period is not None]
    if not known or len(known) < len(periods):
        return None
    return Acquisition(min(start for start, _ in known), max(end for _, end in known), told_by)


def _parse(text: str) -> tuple[dt.datetime, dt.datetime] | None:
    text = text.strip().strip('"')
    start = end = None
    if re.fullmatch(r"\d{12,13}(?:\.0*)?", text):
        # Earth Engine counts milliseconds.
        start = end = dt.datetime.fromtimestamp(float(text) / 1000, dt.UTC)
    if re.fullmatch(r"\d{7}T\d{6}", text):
        # HLS counts the days of the year.
        start = end = _by_form(text, "%Y%jT%H%M%S")
    for form in _DAY_FORMS:
        if start is None and (day := _by_form(text, form)) is not None:
            start, end = day, day + dt.timedelta(days=1) - dt.timedelta(seconds=1)
    for form in _FORMS:
        if start is None:
            start = end = _by_form(text, form)
    if start is None:
        try:
            start = end = dt.datetime.fromisoformat(text)
        except ValueError:
            return None
    assert end is not None
    try:
        start, end = (one.astimezone(dt.UTC) if one.tzinfo else one.replace(tzinfo=dt.UTC) for one in (start, end))
    except OverflowError:
        return None
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    return (start, end) if _FIRST <= start <= tomorrow else None


def _by_form(text: str, form: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, form)
    except ValueError:
        return None
