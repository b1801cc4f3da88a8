"""Several dates in a run: their identity, their pixels, and the report on them in tags and Item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from catalog import BandSpec, DateSeries, OtherDate, Scene
from geosr.errors import UsageError
from geosr.model.card import ModelCard

if TYPE_CHECKING:
    # It needs PyTorch, and a service describes products without.
    from geosr.dates.survey import Survey

#: Raised when the same dates would give other pixels than before.
FORMAT = 2

#: Tags of a product: its dates for people, and for programs.
TEXT_TAG, JSON_TAG = "GEOSR_DATES", "GEOSR_DATES_JSON"

OF_REFERENCE_ALONE = (
    "half-widths are of the reference alone: the model's are not calibrated for several dates, whose image has smaller "
    "errors where they help"
)

#: One date's window: DN and what was measured, both ``(bands, rows, cols)``.
Pixels = tuple[NDArray[Any], NDArray[np.bool_]]


@dataclass(frozen=True)
class RunDates:
    """Further dates of a run. Those that take part are known after the survey."""

    label: str
    """Label of the reference."""
    others: tuple[OtherDate, ...]
    left_out: tuple[tuple[str, str], ...]
    """Labels of dates that could not be placed on the reference's grid, and why."""
    count: int | None
    """Most dates that take part, the reference included; None for all."""
    survey: Survey | None = None
    """Fits of the dates that take part, in their order; None before it was made."""
    used: tuple[int, ...] = ()
    """Numbers of the dates that take part."""
    report: tuple[Mapping[str, Any], ...] = ()
    """Report on each date, the reference first, as plain JSON."""

    @classmethod
    def of(cls, series: DateSeries, count: int | None, card: ModelCard) -> RunDates:
        """Take the further dates of a series. Raises :class:`UsageError` for a model whose images no dates correct."""
        if card.stack is not None:
            raise UsageError(
                f"model {card.name} serves bands of several sampling distances: several dates make one image of bands "
                "of one distance"
            )
        return cls(series.label, series.others, series.left_out, count)

    @property
    def content(self) -> dict[str, Any]:
        """Identity of the dates, as plain JSON."""
        return {
            "format": FORMAT,
            "count": self.count,
            "others": [
                {
                    "source": dict(other.scene.identity),
                    "bands": [asdict(band) for band in other.scene.bands],
                    "days_apart": other.days_apart,
                }
                for other in self.others
            ],
        }

    @property
    def bands(self) -> tuple[tuple[BandSpec, ...], ...]:
        """Bands of the dates that take part."""
        return tuple(self.others[number].scene.bands for number in self.used)

    def with_files(self, scene: Scene) -> Scene:
        """The reference with the files of all dates, none of which may change or be written."""
        own = [scene, *(other.scene for other in self.others)]
        return replace(
            scene,
            files=tuple(dict.fromkeys(file for one in own for file in one.files)),
            rasters={path: identity for one in own for path, identity in one.rasters.items()},
            sources=tuple(dict.fromkeys(source for one in own for source in one.sources)),
        )

    def sources(self, scene: Scene) -> tuple[str, ...]:
        """Sources of the reference, whose other sources are the further dates', and of the dates that take part."""
        idle = [other for other, entry in zip(self.others, self.report[1:], strict=False) if "reason" in entry]
        left_out = {source for other in idle for source in other.scene.sources}
        return tuple(source for source in scene.sources if source not in left_out)

    def read(self, window: Window) -> list[Pixels] | None:
        """Read the dates that take part in a window of the scene; None where none of them was measured."""
        found = [self.others[number].scene.reader.read(window) for number in self.used]
        return found if any(valid.any() for _, valid in found) else None

    def reported(self, tags: Mapping[str, str]) -> RunDates:
        """The dates with the report that a product's tags hold."""
        return replace(self, report=tuple(json.loads(tags.get(JSON_TAG, "[]"))))

    def tags(self) -> dict[str, str]:
        """Tags of a product."""
        return {TEXT_TAG: "; ".join(map(sentence, self.report)), JSON_TAG: json.dumps(self.report)}

    def with_shares(self, shares: Sequence[float]) -> RunDates:
        """The dates with the shares of pixels at which they took part, in their report."""
        report = [dict(entry) for entry in self.report]
        for number, share in zip(self.used, shares, strict=True):
            report[1 + number]["share"] = round(share, 4)
        return replace(self, report=tuple(report))


def sentence(entry: Mapping[str, Any]) -> str:
    """Report on one date in words."""
    if entry["role"] == "reference":
        return f"{entry['date']}: reference"
    if "reason" in entry:
        return f"{entry['date']}: not used, {entry['reason']}"
    down, across = entry["shift_px"]
    share = f" in {100 * entry['share']:.0f} % of the pixels" if "share" in entry else ""
    return f"{entry['date']}: shift {down:+.2f} {across:+.2f} px, weight {entry['weight']:.3g}{share}"
