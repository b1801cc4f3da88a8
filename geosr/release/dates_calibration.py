"""Calibration of half-widths for several dates: how much narrower they are where further dates correct the image.

    python -m geosr.release.dates_calibration CONFIG --model CARD --data FOLDER

Simulated dates of the imagery that half-widths are calibrated on are made to one image, with weights as they are and
smaller, as those of real dates are. The quantile of ``|error| / half-width`` with the dates over that without them is
the factor that keeps the coverage; the two numbers of the card are fitted to it by least squares. Each kind of imagery
counts as much as any other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

from geosr.dates.half_width import effective_dates
from geosr.dates.survey import DateFit, Survey
from geosr.evaluate.contenders import Contender, of_generator
from geosr.evaluate.simulated_dates import DAYS_APART, fuse_frames, simulate_dates, survey_frames
from geosr.model.build import build
from geosr.model.card import Calibration, DatesCalibration, ModelCard, read_card_file
from geosr.model.generator import Generator
from geosr.model.sensor import Sensor
from geosr.release import bfloat16_rounding
from geosr.training.config import TrainingConfig, read_config
from geosr.training.data import read_whole_source, reduce_by_area, whole_blocks

_COMMAND = "python -m geosr.release.dates_calibration"

#: Numbers of dates, the reference included, and factors on the weights of simulated dates.
COUNTS, _WEIGHTS = (2, 4, 8), (1.0, 0.2, 0.05)

#: Images of each kind, their side and the margin that is left out, fine pixels.
_IMAGES, _SIDE_PX, _BORDER_PX = 4, 384, 16

#: What a fit begins with: about what simulated series need.
_START = (0.12, 1.0)


@dataclass(frozen=True)
class _Kind:
    """Measurements on one kind of imagery, one for each number of dates and factor on their weights."""

    number: list[float]
    """Effective number of further dates."""
    factor: list[float]
    """Factor on the half-widths that keeps their coverage."""
    pixels: int


def calibrate_dates(
    model: Generator, config: TrainingConfig, halo_px: int, calibration: Calibration, data: Path, command: str
) -> DatesCalibration:
    """Measure the narrowing of a calibrated model's half-widths by further dates, on ``config.calibration``."""
    subject = of_generator(config.name, model, config.bands, config.reference_reflectance, halo_px, calibration)
    kinds = {}
    for source in config.calibration:
        images = read_whole_source(source, config, data)
        for factor in source.reduce:
            chosen = images[:: -(-len(images) // _IMAGES)]
            truths = [
                whole_blocks(reduce_by_area(image, factor), config.scale)[:, :_SIDE_PX, :_SIDE_PX] for image in chosen
            ]
            name = f"{source.glob}, averaged by {factor}" if factor > 1 else source.glob
            kinds[name] = _measured(truths, subject, model.sensor, config.mtf_nyquist, calibration.level)
    most, half_at = fit([one.number for one in kinds.values()], [one.factor for one in kinds.values()])
    return DatesCalibration(
        most=round(most, 4),
        half_at=round(half_at, 4),
        data={name: one.pixels for name, one in kinds.items()},
        command=command,
    )


def fit(numbers: Sequence[Sequence[float]], factors: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Fit ``most`` and ``half_at`` to factors at effective numbers of dates, kind by kind, all of equal weight."""
    number, factor = np.concatenate(numbers), np.concatenate(factors)
    weight = np.concatenate([np.full(len(one), len(one) ** -0.5) for one in numbers])

    def missed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weight * (1 - values[0] * number / (number + values[1]) - factor))

    found = least_squares(missed, _START, bounds=((0.0, 1e-3), (0.999, 1000.0))).x
    return float(found[0]), float(found[1])


def _measured(
    truths: Sequence[Tensor], subject: Contender, sensor: Sensor, transfers: Sequence[float], level: float
) -> _Kind:
    """Effective numbers of dates and factors over all images of a kind."""
    cases = [(count, share) for count in COUNTS for share in _WEIGHTS]
    numbers: list[list[float]] = [[] for _ in cases]
    before: list[NDArray[np.float32]] = []
    after: list[list[NDArray[np.float32]]] = [[] for _ in cases]
    for seed, truth in enumerate(truths):
        frames, _ = simulate_dates(truth, sensor, max(COUNTS), seed)
        made = subject.run(torch.from_numpy(frames[0]))
        assert made.half_width is not None
        before.append(_ratios(made.image, truth, made.half_width))
        survey = survey_frames(frames, transfers, sensor, [DAYS_APART * k for k in range(1, len(frames))])
        for number, ratios, (count, share) in zip(numbers, after, cases, strict=True):
            image, weights = fuse_frames(made.image, frames[:count], _weakened(survey, count, share), sensor)
            number.append(float(effective_dates(weights).mean()))
            ratios.append(_ratios(image, truth, made.half_width))
    alone = _quantiles(before, level)
    factors = [float(np.mean(_quantiles(one, level) / alone)) for one in after]
    return _Kind([float(np.mean(one)) for one in numbers], factors, sum(one.shape[1] for one in before))


def _weakened(survey: Survey, count: int, share: float) -> Survey:
    """The first ``count`` dates of a survey, their weights a share of what they are."""
    return Survey(
        tuple(
            replace(one, weight=tuple(share * weight for weight in one.weight)) if isinstance(one, DateFit) else one
            for one in survey.dates[: count - 1]
        )
    )


def _ratios(image: Tensor, truth: Tensor, half_width: Tensor) -> NDArray[np.float32]:
    inside = (slice(None), slice(_BORDER_PX, -_BORDER_PX), slice(_BORDER_PX, -_BORDER_PX))
    ratio: NDArray[np.float32] = ((image - truth).abs() / half_width)[inside].flatten(1).numpy()
    return ratio


def _quantiles(parts: Sequence[NDArray[np.float32]], level: float) -> NDArray[np.float64]:
    """By band."""
    return np.asarray(np.quantile(np.concatenate(parts, axis=1), level, axis=1))


def main() -> None:
    """Run from the command line: the card gets the calibration."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="that of the half-widths")
    parser.add_argument("--model", type=Path, required=True, metavar="CARD", help="card of the model, .json")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    card, config = read_card_file(arguments.model), read_config(arguments.config)
    assert card.calibration is not None
    model = build(card, config.mtf_nyquist)
    found = calibrate_dates(model, config, card.halo_px, card.calibration, arguments.data, _COMMAND)
    print(found.model_dump_json(indent=2))  # noqa: T201
    bfloat16_rounding.write(with_dates(card, found), arguments.model)


def with_dates(card: ModelCard, calibration: DatesCalibration) -> ModelCard:
    """The card with the calibration."""
    assert card.calibration is not None
    return card.model_copy(update={"calibration": card.calibration.model_copy(update={"dates": calibration})})


if __name__ == "__main__":
    main()
