"""Evaluation of a model against others: truth → what the sensor records → every contender → figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.sentinel2 import BANDS
from geosr.errors import UsageError
from geosr.evaluate.comparison import SetEvaluation, compare
from geosr.evaluate.contenders import Contender, Opened, baselines, contender, open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import SETS, ImageSet, bands_of, find_images
from geosr.progress import Reporter


@dataclass(frozen=True)
class EvaluationRequest:
    """Request for an evaluation: models and data."""

    model: str
    """A shipped model, a card (.json) or a checkpoint of ESRGAN's form (.safetensors, .pth)."""
    data: Path
    """Folder of the standard sets, or of any rasters taken as the truth."""
    against: tuple[str, ...] = ()
    """Further models."""
    images: ImageSet | None = None
    """Rasters of one's own; None for the standard sets."""


@dataclass(frozen=True)
class Evaluation:
    """The whole."""

    model: str
    contenders: tuple[Contender, ...]
    transfers: dict[str, float]
    """Modulation transfer at Nyquist of the sensor, by band."""
    sets: tuple[SetEvaluation, ...]


def evaluate(request: EvaluationRequest, reporter: Reporter) -> Evaluation:
    """Compare a model with the baselines and with further models on every set.

    Raises :class:`UsageError` when imagery or bands are missing, :class:`ModelError` for a model that does not fit.
    """
    models = [open_model(name) for name in (request.model, *request.against)]
    sets = _sets(request, reporter)
    bands = _bands(models, sets[0], request.data)
    transfers = transfers_of(bands, models[0].card)
    sensor = sensor_of(bands, transfers)
    contenders = _named_apart(baselines(bands, sensor), [contender(model, bands, sensor) for model in models])
    subject = next(one for one in contenders if one.digest == models[0].card.digest)
    results = [compare(which, request.data, contenders, subject, transfers, reporter) for which in sets]
    return Evaluation(subject.name, tuple(contenders), transfers, tuple(results))


def _sets(request: EvaluationRequest, reporter: Reporter) -> tuple[ImageSet, ...]:
    if request.images is not None:
        find_images(request.images, request.data)
        return (request.images,)
    if not request.data.is_dir():
        raise UsageError(f"{request.data} is not a folder: name one that holds high-resolution rasters")
    found = tuple(which for which in SETS if any(request.data.glob(which.glob)))
    if not found:
        raise UsageError(
            f"{request.data} holds none of the standard sets ({', '.join(dict.fromkeys(one.glob for one in SETS))}): "
            "for rasters of your own say with --full-scale which DN is reflectance 1"
        )
    for which in SETS:
        if which not in found:
            reporter.note(f"{request.data} does not hold the standard set {which.name}: {which.glob}")
    return found


def _bands(models: Sequence[Opened], which: ImageSet, data: Path) -> tuple[str, ...]:
    """All that a model needs; where any will do, all that the first image has. In Sentinel-2's order."""
    named = {band for model in models for band in model.card.bands or ()}
    if named:
        return tuple(band for band in BANDS if band in named)
    first = find_images(which, data)[0]
    held = bands_of(first)
    if not held:
        raise UsageError(f"{first} has no band described as one of Sentinel-2's, as B02 or blue")
    return tuple(held)


def _named_apart(always: list[Contender], models: list[Contender]) -> list[Contender]:
    """All contenders, none twice, and those of one name numbered."""
    contenders = list(always)
    for one in models:
        if any(one.digest == other.digest for other in contenders):
            continue
        alike = sum(other.name.split(" #")[0] == one.name for other in contenders)
        contenders.append(replace(one, name=f"{one.name} #{alike + 1}") if alike else one)
    return contenders
