"""Gains by further dates: simulated series, real ones with a date left out, and real change between vintages.

    python benchmarks/dates.py --data DATA [--model MODEL] [--only simulated,calm,half_widths,real,disturbed,vintages]

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
from scipy import ndimage
from torch import Tensor

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.half_width import width_factor
from geosr.dates.survey import DateFit, Tile, survey_dates
from geosr.evaluate.contenders import SCALE, contender, open_model
from geosr.evaluate.held_out import NOISE, SETS, ImageSet, find_images, read_images
from geosr.evaluate.metrics import psnr
from geosr.evaluate.real import dates as pairs_of_dates
from geosr.evaluate.real.dates import DatedImage, read_series
from geosr.evaluate.real.several_dates import COUNTS, left_over_by_count
from geosr.evaluate.real.subject import BANDS, VISIBLE, Subject, subject_of
from geosr.evaluate.simulated_dates import (
    DAYS_APART,
    SHIFT_PX,
    Frames,
    fuse_frames,
    observed_at,
    simulate_dates,
    survey_frames,
)

#: Side of simulated images, and the border that nothing is judged in, fine pixels.
SIDE_PX, BORDER_PX = 400, 16

#: Reflectance of water by band, and how far from a shore it is judged, fine pixels.
WATER, SHORE_PX = (0.05, 0.045, 0.03, 0.02), 72

#: Opacities of clouds in real dates, their standard deviation, source pixels, their reflectance, and the opacity below
#: which there is none.
CLOUDS, CLOUD_PX, CLOUD_REFLECTANCE, THINNEST = (0.1, 0.3, 0.8), 4.0, 0.45, 0.002

#: DN of reflectance 1.
FULL_SCALE = 10_000


def main() -> None:
    """Measure and keep."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--model", default="rgbn-x4")
    parser.add_argument("--only", default="simulated,calm,half_widths,real,disturbed,vintages")
    parser.add_argument("--images", type=int, default=8, help="most images of a simulated set")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    subject = subject_of(arguments.model)
    parts = {
        "simulated": simulated,
        "calm": calm,
        "half_widths": half_widths,
        "real": real,
        "disturbed": disturbed,
        "vintages": vintages,
    }
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
            frames, shifts = simulate_dates(truth, subject.sensor(BANDS), max(COUNTS), seed)
            single = subject(torch.from_numpy(frames[0]), BANDS)
            for count in of_set:
                image, _ = fused(single, frames[:count], subject)
                of_set[count].append(psnr(image, truth) - psnr(single, truth))
            errors += _shift_errors(frames, shifts, subject)
        print(which.name, {count: round(float(np.mean(one)), 2) for count, one in of_set.items() if one}, flush=True)
    print("shift error, median and 95th percentile", np.percentile(errors, [50, 95]).round(3), flush=True)
    return {
        "gain_db": {name: {str(k): _mean(v) for k, v in one.items() if v} for name, one in gains.items()},
        "shift_error_px": {"median": _mean([np.median(errors)]), "p95": _mean([np.percentile(errors, 95)])},
    }


def calm(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Noise on simulated water beside a town, standard deviation of the product's over that of a date, by band."""
    del images
    truth = read_images(SETS[0], data, BANDS)[0].clone()
    shore = truth.shape[2] // 2
    truth[:, :, shore:] = torch.tensor(WATER).reshape(-1, 1, 1)
    frames, _ = simulate_dates(truth, subject.sensor(BANDS), max(COUNTS), 0)
    single = subject(torch.from_numpy(frames[0]), BANDS)
    gains = {}
    for count in COUNTS:
        image = single if count == 1 else fused(single, frames[:count], subject)[0]
        water = image[:, SHORE_PX:-SHORE_PX, shore + SHORE_PX : -BORDER_PX].flatten(1)
        gains[str(count)] = [round(float(one), 2) for one in water.std(dim=1) / NOISE]
    print("noise on water", gains, flush=True)
    return {"noise_gain": gains}


def half_widths(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Coverage, mean half-width and mean error by set and number of dates; one date's as 1."""
    opened, sensor = open_model(subject.name), subject.sensor(BANDS)
    made = contender(opened, BANDS, sensor)
    calibration = opened.card.calibration
    if made.bands != BANDS or calibration is None or calibration.dates is None:
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for which in SETS:
        judged: dict[int, list[tuple[float, float, float]]] = {count: [] for count in COUNTS}
        for seed, truth in enumerate(spread(read_images(which, data, BANDS), images)):
            truth = truth[:, :SIDE_PX, :SIDE_PX]
            frames, _ = simulate_dates(truth, sensor, max(COUNTS), seed)
            one = made.run(torch.from_numpy(frames[0]))
            assert one.half_width is not None
            judged[1].append(_judged(one.image, one.half_width, truth))
            for count in COUNTS[1:]:
                image, weights = fused(one.image, frames[:count], subject)
                factor = torch.from_numpy(width_factor(weights, calibration.dates, sensor.scale))
                judged[count].append(_judged(image, one.half_width * factor, truth))
        means = {count: np.mean(of_count, axis=0) for count, of_count in judged.items()}
        found[which.name] = {
            str(count): {
                "coverage": _mean(mean[0]),
                "half_width": _mean(mean[1] / means[1][1]),
                "error": _mean(mean[2] / means[1][2]),
            }
            for count, mean in means.items()
        }
        print(which.name, found[which.name], flush=True)
    every = list(found.values())
    found["all sets"] = {
        count: {name: _mean([one[count][name] for one in every]) for name in every[0][count]} for count in every[0]
    }
    print("all sets", found["all sets"], flush=True)
    return {"calibration": calibration.dates.command, "sets": found}


def _judged(image: Tensor, half_width: Tensor, truth: Tensor) -> tuple[float, float, float]:
    """Coverage, mean half-width and mean absolute error within the border."""
    inside = (slice(None), slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    error, width = (image - truth).abs()[inside], half_width[inside]
    return float((error <= width).float().mean()), float(width.mean()), float(error.mean())


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


def disturbed(subject: Subject, data: Path, images: int) -> dict[str, Any]:
    """Change of a real series' product, DN, where one of four dates is moved by a pixel, or has a cloud.

    The moved date is held against the same date in its place, the cloud against the same date without the pixels that
    the cloud touches. A cloud is a Gaussian of four pixels over the middle of the field.
    """
    del images
    found: dict[str, list[tuple[float, float]]] = {}
    for folder in sorted((data / "series").iterdir()):
        dates = read_series(folder)
        for reference in dates[1:-1:4]:
            series = _Series(subject, reference, dates)
            plain = series.correction(series.dates)
            for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
                moved = DatedWindow(*(np.roll(one, step, axis - 2) for one in series.disturbed))
                found.setdefault("moved by a pixel", []).append(series.difference(series.with_first(moved), plain))
            for opacity in CLOUDS:
                cloudy, masked, touched = series.under_cloud(opacity)
                masked_image = series.correction(series.with_first(masked))
                name = f"cloud of opacity {opacity:g}"
                found.setdefault(name, []).append(series.difference(series.with_first(cloudy), masked_image, touched))
    result = {
        name: {"mean_dn": _mean([a for a, _ in one]), "p99_dn": _mean([b for _, b in one])}
        for name, one in found.items()
    }
    print("disturbed", result, flush=True)
    return {"cases": {name: len(one) for name, one in found.items()}, **result}


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
        sensor = subject.sensor(BANDS)
        frames = [observed_at(truth, (0.0, 0.0), sensor, rng)]
        frames += [observed_at(one, tuple(rng.uniform(-SHIFT_PX, SHIFT_PX, 2)), sensor, rng) for one in older]
        single = subject(torch.from_numpy(frames[0]), BANDS)
        image, _ = fused(single, frames, subject, [365.0] * len(older))
        gains.append(psnr(image, truth) - psnr(single, truth))
    print("vintages", len(gains), "mean", round(float(np.mean(gains)), 3), "worst", round(min(gains), 3), flush=True)
    return {"places": len(gains), "mean_db": _mean(gains), "worst_db": _mean([min(gains)])}


class _Series:
    """A date of a real series with the three that are nearest in time, of which the first is disturbed."""

    def __init__(self, subject: Subject, reference: DatedImage, dates: Sequence[DatedImage]) -> None:
        self._sensor = subject.sensor(VISIBLE)
        self._transfers = [subject.transfers[one] for one in VISIBLE]
        others = sorted(
            (one for one in dates if one is not reference and one.pixels.shape == reference.pixels.shape),
            key=lambda one: (abs((one.when - reference.when).days), one.when),
        )[:3]
        self._days = [float(abs((one.when - reference.when).days)) for one in others]
        self.dates = [DatedWindow(one.pixels.astype(np.float32), one.measured) for one in (reference, *others)]
        self._single = subject(torch.from_numpy(self.dates[0].pixels), VISIBLE).numpy()
        fine = reference.measured.repeat(SCALE, 0).repeat(SCALE, 1)
        self._judged = ndimage.binary_erosion(fine, iterations=BORDER_PX)

    @property
    def disturbed(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The date that is disturbed: reflectance, and what was measured."""
        return self.dates[1].pixels, self.dates[1].valid

    def with_first(self, date: DatedWindow) -> list[DatedWindow]:
        """The dates with another first one beside the reference."""
        return [self.dates[0], date, *self.dates[2:]]

    def correction(self, dates: Sequence[DatedWindow]) -> NDArray[np.float32]:
        """Correction of the reference's product by the other dates, reflectance."""
        tile = Tile(0, 0, [one.pixels for one in dates], [one.valid for one in dates])
        survey = survey_dates([tile], self._transfers, self._sensor, dates[0].valid.shape, self._days)
        return correction(self._single, dates[0], dates[1:], survey, self._sensor)[0]

    def under_cloud(self, opacity: float) -> tuple[DatedWindow, DatedWindow, NDArray[np.bool_]]:
        """The date with a cloud, and without what that touches; and where that is, ``(rows, cols)``."""
        pixels, valid = self.disturbed
        middle = [float(np.median(one)) for one in np.nonzero(valid)]
        away = sum((axis - centre) ** 2 for axis, centre in zip(np.indices(valid.shape), middle, strict=True))
        cover = opacity * np.exp(-away / 2 / CLOUD_PX**2)
        cover[cover < THINNEST] = 0
        cloudy = (pixels * (1 - cover) + CLOUD_REFLECTANCE * cover).astype(np.float32)
        return DatedWindow(cloudy, valid), DatedWindow(pixels, valid & (cover == 0)), cover > 0

    def difference(
        self, dates: Sequence[DatedWindow], expected: NDArray[np.float32], where: NDArray[np.bool_] | None = None
    ) -> tuple[float, float]:
        """Mean and 99th percentile of the difference, DN, from what is expected."""
        judged = self._judged if where is None else self._judged & where.repeat(SCALE, 0).repeat(SCALE, 1)
        off = np.abs(self.correction(dates) - expected)[:, judged] * FULL_SCALE
        return float(off.mean()), float(np.quantile(off, 0.99))


def spread(images: Sequence[Tensor], most: int) -> Sequence[Tensor]:
    """At most so many images, from all over the set."""
    return images[:: -(-len(images) // most)]


def _shift_errors(frames: Frames, shifts: Sequence[tuple[float, ...]], subject: Subject) -> list[float]:
    """Errors of all dates' shifts where every third date has a cloud; 1 for a date that takes no part."""
    clouded = [frame.copy() for frame in frames]
    rows, cols = frames[0].shape[1:]
    for number in range(1, len(frames), 3):
        clouded[number][:, : rows // 2, : 2 * cols // 5] = 0.5
    fits = survey_frames(clouded, transfers_of(subject), subject.sensor(BANDS)).dates
    return [
        float(np.hypot(fit.shift_px[0] - shift[0], fit.shift_px[1] - shift[1])) if isinstance(fit, DateFit) else 1.0
        for fit, shift in zip(fits, shifts[1:], strict=True)
    ]


def transfers_of(subject: Subject) -> list[float]:
    """Modulation transfer of the bands, as the model assumes it."""
    return [subject.transfers[one] for one in BANDS]


def fused(
    single: Tensor, frames: Frames, subject: Subject, days: Sequence[float] | None = None
) -> tuple[Tensor, NDArray[np.float32]]:
    """Correct one date's image by the other frames, by default of every fifth day; and their weights."""
    sensor = subject.sensor(BANDS)
    apart = [DAYS_APART * k for k in range(1, len(frames))] if days is None else days
    return fuse_frames(single, frames, survey_frames(frames, transfers_of(subject), sensor, apart), sensor)


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
