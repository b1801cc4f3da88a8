"""Results of a comparison of two dates, and the notes that go with them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from geosr.change.dates import Registration
from geosr.change.districts import DistrictChange
from geosr.change.levels import Levels
from geosr.change.polygons import ChangedArea


@dataclass(frozen=True)
class Totals:
    """Hectares of one kind of change."""

    hectares: float
    low_hectares: float
    high_hectares: float
    areas: int


@dataclass(frozen=True)
class GridSummary:
    """Change on one grid."""

    pixel_m: float
    less: Totals
    more: Totals
    unchanged_difference: float
    """Median absolute difference of the index where nothing changed, as the map of differences has it."""
    unchanged_measured: float
    """Median of the differences as measured, see :mod:`geosr.change.calm`."""


@dataclass(frozen=True)
class ChangeResult:
    """Change between two dates on both grids, and the files written."""

    index: str
    before: str
    after: str
    fine: GridSummary
    source: GridSummary
    """Change found from the sources' own pixels."""
    registration: Registration
    notes: tuple[str, ...]
    files: dict[str, str]
    districts: tuple[DistrictChange, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def totals_of(areas: list[ChangedArea]) -> Totals:
    """Sum areas of one kind."""
    return Totals(
        round(sum(area.hectares for area in areas), 3),
        round(sum(area.low_hectares for area in areas), 3),
        round(sum(area.high_hectares for area in areas), 3),
        len(areas),
    )


def registration_notes(registration: Registration) -> list[str]:
    """Say how the later date was laid on the earlier one."""
    if not registration.squares:
        return ["the dates could not be registered, and are compared as they lie: clouds, or too little detail"]
    shift = math.hypot(registration.rows_px, registration.cols_px)
    seasons = "the dates differ by more than light and haze, as by season, and are not brought to one radiometry"
    return [
        *([] if registration.harmonised else [seasons]),
        f"the later date was moved by {shift:.2f} source pixels (scatter {registration.scatter_px:.2f}, "
        f"{registration.squares} squares)",
    ]


def level_notes(levels: Levels) -> list[str]:
    """Say where there is too little unchanged ground."""
    if levels.factor < 1:
        return []
    return [
        "most of the area differs by more than the errors of both dates, as between seasons: there is too little "
        "unchanged ground to measure, and the half-widths of both are taken in full"
    ]


def grid_notes(fine: GridSummary, source: GridSummary) -> list[str]:
    """Say how differences below the errors of both dates are shown."""
    if source.unchanged_measured >= fine.unchanged_measured:
        return []
    return [
        f"where nothing changed the index as measured differs by {source.unchanged_measured:.4f} at "
        f"{source.pixel_m:g} m and {fine.unchanged_measured:.4f} at {fine.pixel_m:g} m: weak change is shown as at "
        f"{source.pixel_m:g} m, with finer detail where it exceeds the errors of both dates"
    ]
