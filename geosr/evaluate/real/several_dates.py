"""Another date of the same place, predicted from several: a judge of what further dates bring.

As :mod:`geosr.evaluate.real.dates`, but the source's image is first corrected by its other near dates, the target never
among them. What the share left over falls by is detail that those dates show and the source alone does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.survey import Survey, Tile, survey_dates
from geosr.evaluate.real.dates import DatedImage, Pair, read_series, seen_at, share_left
from geosr.evaluate.real.subject import Subject

#: Dates of which an image is made, the source among them.
COUNTS = (1, 2, 4, 8)

#: Further dates of a source that are registered, the nearest in time: some of them are clouded, one is the target.
_MOST = 9


@dataclass(frozen=True)
class _Source:
    """A date's image, and the other dates of its series, the nearest in time first."""

    image: Tensor
    others: tuple[DatedImage, ...]
    survey: Survey


def left_over_by_count(
    subject: Subject, pairs: Sequence[Pair], data: Path, counts: Sequence[int] = COUNTS
) -> dict[int, list[float]]:
    """Share of the target's detail that an image of so many dates does not predict, for each pair."""
    series = {name: read_series(data / name) for name in {pair.series for pair in pairs}}
    made: dict[int, _Source] = {}
    shares: dict[int, list[float]] = {count: [] for count in counts}
    for pair in pairs:
        source = pair.source
        if id(source) not in made:
            made[id(source)] = _prepare(subject, source, series[pair.series])
        common = subject.common(source.bands)
        chosen = [source.bands.index(one) for one in common]
        for count in counts:
            image = _of_dates(subject, pair, made[id(source)], count)
            shares[count].append(share_left(seen_at(image, pair.shift_px, subject.sensor(common)), pair, chosen))
    return shares


def _prepare(subject: Subject, source: DatedImage, series: Sequence[DatedImage]) -> _Source:
    others = sorted(
        (one for one in series if one.when != source.when and one.pixels.shape == source.pixels.shape),
        key=lambda one: (abs((one.when - source.when).days), one.when),
    )[:_MOST]
    common = subject.common(source.bands)
    dates = [source, *others]
    tile = Tile(0, 0, [_pixels(one, common) for one in dates], [one.measured for one in dates])
    transfers = [subject.transfers[one] for one in common]
    days = [abs((one.when - source.when).days) for one in others]
    survey = survey_dates([tile], transfers, subject.sensor(common), source.measured.shape, days)
    image = subject(torch.from_numpy(source.pixels.astype(np.float32)), source.bands)
    return _Source(image, tuple(others), survey)


def _of_dates(subject: Subject, pair: Pair, source: _Source, count: int) -> Tensor:
    """The source's image corrected by the nearest ``count - 1`` dates that take part, the target left out."""
    used = [(i, fit) for i, fit in source.survey.used if source.others[i].when != pair.target.when][: count - 1]
    common = subject.common(pair.source.bands)
    windows = [
        DatedWindow(_pixels(one, common), one.measured) for one in (pair.source, *(source.others[i] for i, _ in used))
    ]
    survey = Survey(tuple(fit for _, fit in used))
    image = source.image.numpy()
    change, _ = correction(image, windows[0], windows[1:], survey, subject.sensor(common))
    return torch.from_numpy(image + change)


def _pixels(date: DatedImage, bands: Sequence[str]) -> np.ndarray:
    return date.pixels[[date.bands.index(one) for one in bands]]
