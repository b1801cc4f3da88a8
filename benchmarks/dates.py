"""Gains by further dates: simulated series, real ones with a date left out, and real change between vintages.

    python benchmarks/dates.py --data DATA [--model MODEL] [--only simulated,real,vintages] [--images 8]

Simulated dates are shifted by up to 0.6 source pixels along each axis, have a noise of 0.001 and gains of 3 %; the
product registers them itself. Every third one is covered by a cloud over a fifth of its area where shifts are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import arguments_of, command_of, keep
from numpy.typing import NDArray
from torch import Tensor

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.sampling import ShiftedSensor
from geosr.dates.survey import DateFit, Survey, Tile, survey_dates, tile_windows
from geosr.evaluate.held_out import SETS, ImageSet, find_images, read_images
from geosr.evaluate.metrics import psnr
from geosr.evaluate.real import dates as pairs_of_dates
from geosr.evaluate.real.several_dates import COUNTS, left_over_by_count
from geosr.evaluate.real.subject import BANDS, Subject, subject_of

NOISE, GAIN, SHIFT_PX, SIDE_PX = 0.001, 0.03, 0.6, 400

Frames = list[NDArray[np.float32]]


def main() -> None:
    """Measure and keep."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--model", default="rgbn-x4")
    parser.add_argument("--only", default="simulated,real,vintages")
    parser.add_argument("--images", type=int, default=8, help="most images of a simulated set")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    subject = subject_of(arguments.model)
    parts = {"simulated": simulated, "real": real, "vintages": vintages}
    images = 1 if arguments.smoke else arguments.images
    found = {name: parts[name](subject, arguments.data, images) for name in arguments.only.split(",")}
    keep("dates", command_of(parser, arguments), {"model": arguments.model, **found}, arguments.results)


def simulated(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Gain over one date by their number, dB, and errors of the shifts, source pixels."""
    gains: dict[str, dict[int, list[float]]] = {}
    errors: list[float] = []
    for which in SETS:
        of_set = gains.setdefault(which.name, {count: [] for count in COUNTS[1:]})
        for seed, truth in enumerate(spread(read_images(which, data, BANDS), images)):
            truth = truth[:, :SIDE_PX, :SIDE_PX]
            if min(truth.shape[1:]) < 128:
                continue
            frames, shifts = frames_of(truth, subject, max(COUNTS), seed)
            single = subject(torch.from_numpy(frames[0]), BANDS)
            for count in of_set:
                image, _ = fused(single, frames[:count], subject, [5.0 * k for k in range(1, count)])
                of_set[count].append(psnr(image, truth) - psnr(single, truth))
            errors += _shift_errors(frames, shifts, subject)
        print(which.name, {count: round(float(np.mean(one)), 2) for count, one in of_set.items() if one}, flush=True)
    print("shift error, median and 95th percentile", np.percentile(errors, [50, 95]).round(3), flush=True)
    return {
        "gain_db": {name: {str(k): _mean(v) for k, v in one.items() if v} for name, one in gains.items()},
        "shift_error_px": {"median": _mean([np.median(errors)]), "p95": _mean([np.percentile(errors, 95)])},
    }


def real(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Share of a left-out date that is not predicted, by the number of dates."""
    del images
    pairs = pairs_of_dates.find_pairs(data / "series")
    shares = left_over_by_count(subject, pairs, data / "series")
    one = float(np.mean(shares[1]))
    for count, of_count in shares.items():
        print(
            count,
            "dates leave",
            round(float(np.mean(of_count)), 4),
            f"{1 - np.mean(of_count) / one:.1%} less",
            flush=True,
        )
    return {"pairs": len(pairs), "left_over": {str(count): _mean(of_count) for count, of_count in shares.items()}}


def vintages(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Gain over one date where the further dates are other years of the same ground, dB."""
    del images
    place = ImageSet("claremont 1.2 m", "hr/naip_california/claremont_*.tif", 255, reduce=2)
    gains = []
    for seed, (path, truth) in enumerate(zip(find_images(place, data), read_images(place, data, BANDS), strict=True)):
        older = []
        for year in (2016, 2018):
            other = data / "hr/naip_california_vintages" / f"{path.stem}_{year}.tif"
            if other.is_file():
                which = ImageSet("vintage", str(other.relative_to(data)), 255)
                older += read_images(which, data, BANDS)
        if not older:
            continue
        rng = np.random.default_rng(seed)
        frames = [_seen(truth, (0.0, 0.0), subject, rng)]
        frames += [_seen(one, tuple(rng.uniform(-SHIFT_PX, SHIFT_PX, 2)), subject, rng) for one in older]
        single = subject(torch.from_numpy(frames[0]), BANDS)
        image, _ = fused(single, frames, subject, [365.0] * len(older))
        gains.append(psnr(image, truth) - psnr(single, truth))
    print("vintages", len(gains), "mean", round(float(np.mean(gains)), 3), "worst", round(min(gains), 3), flush=True)
    return {"places": len(gains), "mean_db": _mean(gains), "worst_db": _mean([min(gains)])}


def spread(images: Sequence[Tensor], most: int) -> Sequence[Tensor]:
    """At most so many images, from all over the set."""
    return images[:: -(-len(images) // most)]


def _seen(truth: Tensor, shift: tuple[float, ...], subject: Subject, rng: np.random.Generator) -> NDArray[np.float32]:
    sigmas = subject.sensor(BANDS).sigmas
    lr = ShiftedSensor(sigmas, 4, (shift[0], shift[1])).observe(truth.numpy())
    return lr + np.float32(NOISE) * rng.normal(size=lr.shape).astype(np.float32)


def frames_of(truth: Tensor, subject: Subject, count: int, seed: int) -> tuple[Frames, list[tuple[float, ...]]]:
    """Simulate so many dates of an image; and their shifts."""
    rng = np.random.default_rng(seed)
    shifts: list[tuple[float, ...]] = [(0.0, 0.0)]
    shifts += [tuple(rng.uniform(-SHIFT_PX, SHIFT_PX, 2)) for _ in range(count - 1)]
    frames = [_seen(truth, one, subject, rng) for one in shifts]
    gains = 1 + rng.uniform(-GAIN, GAIN, (count - 1, len(BANDS), 1, 1)).astype(np.float32)
    return [frames[0], *(frame * gain for frame, gain in zip(frames[1:], gains, strict=True))], shifts


def _shift_errors(frames: Frames, shifts: Sequence[tuple[float, ...]], subject: Subject) -> list[float]:
    """Errors of all dates' shifts where every third date has a cloud; 1 for a date that takes no part."""
    clouded = [frame.copy() for frame in frames]
    rows, cols = frames[0].shape[1:]
    for number in range(1, len(frames), 3):
        clouded[number][:, : rows // 2, : 2 * cols // 5] = 0.5
    fits = _survey(clouded, subject).dates
    return [
        float(np.hypot(fit.shift_px[0] - shift[0], fit.shift_px[1] - shift[1])) if isinstance(fit, DateFit) else 1.0
        for fit, shift in zip(fits, shifts[1:], strict=True)
    ]


def _survey(frames: Frames, subject: Subject, days: Sequence[float] | None = None) -> Survey:
    shape = frames[0].shape[1:]
    tiles = [
        Tile(
            rows.start,
            cols.start,
            [one[:, rows, cols] for one in frames],
            [np.ones(one[0, rows, cols].shape, dtype=bool) for one in frames],
        )
        for rows, cols in tile_windows((shape[0], shape[1]))
    ]
    transfers = [subject.transfers[one] for one in BANDS]
    return survey_dates(tiles, transfers, subject.sensor(BANDS), (shape[0], shape[1]), days)


def fused(
    single: Tensor, frames: Frames, subject: Subject, days: Sequence[float]
) -> tuple[Tensor, NDArray[np.float32]]:
    """Correct one date's image by the other frames; and their weights."""
    windows = [DatedWindow(one, np.ones(one.shape[1:], dtype=bool)) for one in frames]
    survey = _survey(frames, subject, days)
    change, weights = correction(single.numpy(), windows[0], windows[1:], survey, subject.sensor(BANDS))
    return single + torch.from_numpy(change), weights


def _mean(values: Sequence[Any]) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
