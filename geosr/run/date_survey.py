"""The survey of a run's dates: which of them take part, with what shift and weight, and why others do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from rasterio.windows import Window

from catalog import BandSpec, Scene, restricted, restriction_in_force
from geosr import hardware
from geosr.dates.fuse import WindowFuser
from geosr.dates.survey import DateFit, Survey, Unused, tile_windows
from geosr.model.card import ModelCard
from geosr.run.dates import Pixels, RunDates

#: Dates that are read at a time for the survey: servers answer each after a while, but many together.
_AT_A_TIME = 8

#: A date's worth is its weight times this and its distance to the places within a pixel that others have sampled.
_ANY_PLACE = 0.25


def fuser_of(card: ModelCard, scene: Scene, others: Sequence[Sequence[BandSpec]]) -> WindowFuser:
    """The fuser of a run's dates."""
    return WindowFuser(card, scene.bands, tuple(tuple(bands) for bands in others))


def survey_dates_of(dates: RunDates, scene: Scene, area: Window, card: ModelCard) -> RunDates:
    """Register and weigh the dates of an area, and choose those that take part."""
    shape = (int(area.height), int(area.width))
    windows = [
        Window(area.col_off + cols.start, area.row_off + rows.start, cols.stop - cols.start, rows.stop - rows.start)
        for rows, cols in tile_windows(shape)
    ]
    allowed = restriction_in_force()

    def read_all(one: Scene) -> list[Pixels]:
        # What this thread may open, its helpers may.
        with restricted(allowed):
            return [one.reader.read(window) for window in windows]

    scenes = [scene, *(other.scene for other in dates.others)]
    with ThreadPoolExecutor(min(len(scenes), _AT_A_TIME)) as pool:
        read = list(pool.map(read_all, scenes))
    tiles = [
        (
            int(window.row_off - area.row_off),
            int(window.col_off - area.col_off),
            [pixels for pixels, _ in parts],
            [valid for _, valid in parts],
        )
        for window, parts in zip(windows, zip(*read, strict=True), strict=True)
    ]
    fuser = fuser_of(card, scene, [other.scene.bands for other in dates.others])
    survey = fuser.survey(tiles, shape, [other.days_apart for other in dates.others])
    hardware.release_free_memory()
    if len(survey.dates) < len(dates.others):
        # The reference was measured nowhere that was looked at.
        return replace(dates, survey=Survey(()), report=_report(dates, scene, Survey(()), ()))
    used = tuple(sorted(_chosen(survey, None if dates.count is None else dates.count - 1)))
    return replace(
        dates,
        survey=Survey(tuple(survey.dates[number] for number in used)),
        used=used,
        report=_report(dates, scene, survey, used),
    )


def _chosen(survey: Survey, most: int | None) -> list[int]:
    """Dates that take part: those that weigh most and sample the ground where others do not."""
    left = dict(survey.used)
    places = [(0.0, 0.0)]
    chosen: list[int] = []
    while left and (most is None or len(chosen) < most):
        best = max(
            left,
            key=lambda number: (
                float(np.mean(left[number].weight))
                * (_ANY_PLACE + min(_distance(left[number].shift_px, one) for one in places))
            ),
        )
        places.append(left.pop(best).shift_px)
        chosen.append(best)
    return chosen


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance of two shifts within a pixel."""
    return math.hypot(*((a - b + 0.5) % 1 - 0.5 for a, b in zip(one, other, strict=True)))


def _report(dates: RunDates, scene: Scene, survey: Survey, used: Sequence[int]) -> tuple[Mapping[str, Any], ...]:
    report = [_entry(dates.label, scene, "reference")]
    for number, other in enumerate(dates.others):
        fit = survey.dates[number] if number < len(survey.dates) else None
        entry = _entry(other.label, other.scene, "used" if number in used else "not used")
        if isinstance(fit, DateFit):
            entry |= {
                "shift_px": [round(one, 4) for one in fit.shift_px],
                "weight": round(float(np.mean(fit.weight)), 4),
            }
            if number not in used:
                entry["reason"] = f"{dates.count} dates were asked for, and others bring more"
        else:
            entry["reason"] = _reason(dates, fit)
        report.append(entry)
    report += [{"date": label, "role": "not used", "reason": reason} for label, reason in dates.left_out]
    return tuple(report)


def _reason(dates: RunDates, unused: Unused | None) -> str:
    if unused is None:
        return "the reference shows nothing here"
    if unused.twin is not None:
        return f"its pixels are those of {dates.others[unused.twin].label}"
    return unused.reason


def _entry(label: str, scene: Scene, role: str) -> dict[str, Any]:
    told = {} if scene.datetime is None else {"datetime": scene.datetime.isoformat()}
    return {"date": label, "id": scene.id, **told, "role": role}
