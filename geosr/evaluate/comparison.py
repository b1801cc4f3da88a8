"""Every contender on one set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from geosr.evaluate.contenders import REFERENCE_NAME, Contender, ContenderOutput, sensor_of, white
from geosr.evaluate.coverage import Coverage, measure_coverage
from geosr.evaluate.figures import Curve, Figures, measure
from geosr.evaluate.held_out import ImageSet, find_images, observe, read_images
from geosr.evaluate.samples import Sample, choose
from geosr.progress import QuietReporter, Reporter


@dataclass(frozen=True)
class Row:
    """One contender on one set, judged by some bands."""

    name: str
    bands: tuple[str, ...]
    figures: Figures
    over_bicubic_db: float
    """PSNR above that of bicubic interpolation by the same bands."""
    curve: Curve
    coverage: dict[str, Coverage] | None
    """By band, for models with calibrated half-widths."""
    level: float | None
    """Coverage that those promise."""


@dataclass(frozen=True)
class SetEvaluation:
    """All contenders on one set."""

    which: ImageSet
    images: tuple[str, ...]
    """Names of the files."""
    white: float
    """Reflectance that is 1 at the input of networks for plain images."""
    rows: tuple[Row, ...]
    samples: tuple[Sample, ...]


def compare(
    which: ImageSet,
    data: Path,
    contenders: Sequence[Contender],
    subject: Contender,
    transfers: Mapping[str, float],
    reporter: Reporter | None = None,
) -> SetEvaluation:
    """Every contender on one set. ``transfers`` say which bands are read; the subject is shown in samples.

    A contender of fewer bands is judged by those; bicubic and the subject are then judged by them a second time.
    """
    reporter = reporter or QuietReporter()
    bands = tuple(transfers)
    truths = read_images(which, data, bands)
    inputs = observe(truths, sensor_of(bands, transfers))
    full = white(inputs)
    plain = next(one for one in contenders if one.name == REFERENCE_NAME)
    subsets = {frozenset(one.bands): one.bands for one in contenders}
    kept: dict[str, list[ContenderOutput]] = {}
    rows: list[Row] = []
    # Bicubic first: gains are counted from it.
    for one in sorted(contenders, key=lambda one: one is not plain):
        reporter.stage(f"{which.name}: {one.name}")
        unit = full if one.for_plain_images else 1.0
        results = [_times(one.run(_select(lr, bands, one.bands) / unit), unit) for lr in inputs]
        if one in (plain, subject):
            kept[one.name] = results
        judged = (
            [chosen for chosen in subsets.values() if set(chosen) < set(one.bands)] if one in (plain, subject) else []
        )
        for chosen in (one.bands, *judged):
            rows.append(_row(one, chosen, results, truths, inputs, transfers, rows))
    samples = _samples(truths, inputs, bands, kept[plain.name], kept[subject.name], plain, subject)
    names = tuple(path.name for path in find_images(which, data))
    order = {one.name: i for i, one in enumerate(contenders)}
    rows.sort(key=lambda row: (len(row.bands) < len(bands), order[row.name]))
    return SetEvaluation(which, names, full, tuple(rows), samples)


def _row(
    one: Contender,
    chosen: tuple[str, ...],
    results: Sequence[ContenderOutput],
    truths: Sequence[Tensor],
    inputs: Sequence[Tensor],
    transfers: Mapping[str, float],
    before: Sequence[Row],
) -> Row:
    bands = tuple(transfers)
    images = [_select(result.image, one.bands, chosen) for result in results]
    true = [_select(truth, bands, chosen) for truth in truths]
    seen = [_select(lr, bands, chosen) for lr in inputs]
    figures, curve = measure(images, true, seen, sensor_of(chosen, transfers), chosen)
    like = [row for row in before if row.name == REFERENCE_NAME and set(row.bands) == set(chosen)]
    over = figures.psnr_db - like[0].figures.psnr_db if like else 0.0
    coverage = None
    if one.level is not None and chosen == one.bands:
        widths = [result.half_width for result in results if result.half_width is not None]
        coverage = measure_coverage(images, widths, true, chosen)
    return Row(one.name, chosen, figures, over, curve, coverage, one.level)


def _samples(
    truths: Sequence[Tensor],
    inputs: Sequence[Tensor],
    bands: tuple[str, ...],
    interpolated: Sequence[ContenderOutput],
    upscaled: Sequence[ContenderOutput],
    plain: Contender,
    subject: Contender,
) -> tuple[Sample, ...]:
    """By the subject's bands, in the order of ``bands``."""
    shown = tuple(band for band in bands if band in subject.bands)
    widths = [_select(one.half_width, subject.bands, shown) for one in upscaled if one.half_width is not None]
    return tuple(
        choose(
            [_select(truth, bands, shown) for truth in truths],
            [_select(lr, bands, shown) for lr in inputs],
            [_select(one.image, plain.bands, shown) for one in interpolated],
            [_select(one.image, subject.bands, shown) for one in upscaled],
            widths or None,
        )
    )


def _times(result: ContenderOutput, unit: float) -> ContenderOutput:
    return result if unit == 1 else ContenderOutput(result.image * unit)


def _select(image: Tensor, held: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    return image if held == wanted else image[[held.index(band) for band in wanted]]
