"""Calibration of the half-widths of fields' means, on imagery that no model was trained or tested on.

    python -m geosr.release.field_calibration --data DATA

It has three parts. The correlation of the errors, each in units of its half-width, by the distance of the pixels is
their mean over the sets. The part that all pixels of a field share is the one by which small and large fields are
covered most alike. The factor of a measure is the quantile over fields of ``|error of the mean| / half-width``
(split-conformal, as :mod:`geosr.release.calibration`); each set counts alike.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.evaluate.contenders import contender, open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import ImageSet, observe, read_images
from geosr.evaluate.simulated_fields import Segment, bands_of_image, segments_of
from geosr.fields.half_width import scale_of_mean
from geosr.fields.measures import measure_of
from geosr.model.zoo import DEFAULT_MODEL
from geosr.release.calibration import conformal_quantile

#: Imagery of the calibration of pixels, see configs/rgbn_x4.yaml.
SETS = (
    ImageSet("bishop 0.6 m", "hr/naip_california/bishop_*.tif", 255),
    ImageSet("bishop 2.4 m", "hr/naip_california/bishop_*.tif", 255, reduce=4),
    ImageSet("qb_a 2.4 m", "hr/quickbird_toulouse/qb_a.tif", 800),
    ImageSet("catalonia_20200128 10 m", "s2/catalonia_20200128.tif", 10000),
)

#: Share of the rows that others do not use, from the bottom.
_ROWS = {"qb_a 2.4 m": 0.25}

MEASURES = ("ndvi", "ndwi", "B02", "B03", "B04", "B08")

#: Measure whose errors' correlation is taken.
_OF_CORRELATION = "ndvi"

#: Measures that the shared part is chosen for, its candidates, and the classes of size, of as many fields each.
_OF_SHARED, _SHARED, _SIZES = ("ndvi", "ndwi"), tuple(i / 200 for i in range(11)), 3

#: Pixels up to which errors correlate, and bounds of errors in units of their half-widths: one roof is not all.
_REACH_PX, _BOUND = 10, 4.0

#: Set, fields, and errors and half-widths by measure of one image.
Kept = tuple[str, list[Segment], dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]

_OUTPUT = Path(__file__).parent.parent / "data" / "field_errors.json"


def correlation_of(errors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation of an image of errors by distance, 0 to ``_REACH_PX`` pixels in any direction."""
    shape = [2 * length for length in errors.shape]
    products, pairs = (
        np.fft.irfft2(np.abs(np.fft.rfft2(one, s=shape)) ** 2, s=shape) for one in (errors, np.ones(errors.shape))
    )
    around = np.roll(products / np.maximum(pairs, 1), (_REACH_PX, _REACH_PX), axis=(0, 1))
    side = 2 * _REACH_PX + 1
    y, x = np.mgrid[:side, :side] - _REACH_PX
    rings = np.round(np.hypot(y, x)).astype(int)
    means = [around[:side, :side][rings == distance].mean() for distance in range(_REACH_PX + 1)]
    found: NDArray[np.float64] = np.array(means) / means[0]
    return found


def calibrate(model: str, data: Path, command: str) -> dict[str, Any]:
    """Measure the calibration of a model's means; by the digest of its weights."""
    opened = open_model(model)
    bands = opened.card.bands or ()
    sensor = sensor_of(bands, transfers_of(bands, opened.card))
    subject = contender(opened, bands, sensor)
    assert subject.level is not None
    measures = [measure_of(text) for text in MEASURES]
    correlations = []
    kept: list[Kept] = []
    for which in SETS:
        images = read_images(which, data, bands)
        if which.name in _ROWS:
            images = [one[:, round(one.shape[1] * (1 - _ROWS[which.name])) :] for one in images]
        of_set = []
        for truth, lr in zip(images, observe(images, sensor), strict=True):
            result = subject.run(lr)
            assert result.half_width is not None
            true, made, widths = (
                bands_of_image(one.numpy(), bands) for one in (truth, result.image, result.half_width)
            )
            errors = {one.name: one.of(made) - one.of(true) for one in measures}
            of_measure = {one.name: one.half_width(made, widths) for one in measures}
            relative = errors[_OF_CORRELATION] / of_measure[_OF_CORRELATION]
            of_set.append(correlation_of(relative.clip(-_BOUND, _BOUND)))
            kept.append((which.name, list(segments_of(truth.numpy())), errors, of_measure))
        correlations.append(np.mean(of_set, axis=0))
        print(which.name, np.round(correlations[-1], 3), flush=True)  # noqa: T201
    correlation = tuple(float(round(one, 4)) for one in np.mean(correlations, axis=0).clip(-1, 1))
    fields = {one.name: _fields_of(kept, one.name, correlation) for one in measures}
    level = subject.level
    shared = min(_SHARED, key=lambda one: sum(_unevenness(fields[name], one, level) for name in _OF_SHARED))
    factors = {name: round(conformal_quantile(_ratios(one, shared), level), 4) for name, one in fields.items()}
    counts = {name: len(rows) for name, rows in fields[_OF_CORRELATION].items()}
    return {
        str(opened.card.weights_sha256): {
            "level": subject.level,
            "correlation": correlation,
            "shared": shared,
            "factors": factors,
            "data": counts,
            "command": command,
        }
    }


def _fields_of(kept: Sequence[Kept], measure: str, correlation: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Rows of the fields of each set: pixels, error of the mean, its scale without a shared part, mean half-width."""
    rows: dict[str, list[tuple[float, ...]]] = {which.name: [] for which in SETS}
    for name, segments, errors, widths in kept:
        for one in segments:
            weights = one.mask.astype(float)
            scale = scale_of_mean(widths[measure][one.window], weights, correlation)
            rows[name].append((one.pixels, abs(one.mean(errors[measure])), scale, one.mean(widths[measure])))
    return {name: np.array(of_set) for name, of_set in rows.items()}


def _ratios(of_sets: dict[str, NDArray[np.float64]], shared: float) -> list[NDArray[np.float32]]:
    """Errors of means in units of their scale, by set."""
    return [(one[:, 1] / np.hypot(one[:, 2], shared * one[:, 3])).astype(np.float32) for one in of_sets.values()]


def _unevenness(of_sets: dict[str, NDArray[np.float64]], shared: float, level: float) -> float:
    """Sum over classes of size of the squared distance of their coverage from the level; sets count alike."""
    ratios = _ratios(of_sets, shared)
    covered = [one <= conformal_quantile(ratios, level) for one in ratios]
    sizes = [one[:, 0] for one in of_sets.values()]
    edges = np.quantile(np.concatenate(sizes), np.arange(1, _SIZES) / _SIZES)
    classes = [np.digitize(one, edges) for one in sizes]
    shares = [[one[own == size].mean() for one, own in zip(covered, classes, strict=True)] for size in range(_SIZES)]
    return float(((np.mean(shares, axis=1) - level) ** 2).sum())


def main() -> None:
    """Calibrate the default model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    arguments = parser.parse_args()
    content = calibrate(DEFAULT_MODEL, arguments.data, "python -m geosr.release.field_calibration --data DATA")
    _OUTPUT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
