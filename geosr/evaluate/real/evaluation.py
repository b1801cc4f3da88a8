"""Evaluation on real images: the model, interpolations and further models before every judge that has its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from catalog import read_sensor
from geosr.errors import UsageError
from geosr.evaluate.held_out import SETS
from geosr.evaluate.real import dates, detail, judge
from geosr.evaluate.real.crops import Crop, choose
from geosr.evaluate.real.noise import calm_water
from geosr.evaluate.real.subject import BANDS, Subject, interpolation, subject_of
from geosr.evaluate.scene.measure import far_from_profile, measure_band
from geosr.progress import Reporter

#: Interpolations that every model is held against, and their steps of back-projection.
BASELINES = {"bicubic": 0, "back-projection": 3}


@dataclass(frozen=True)
class RealRequest:
    """A model to be judged on real images."""

    model: str
    """A shipped model, a card (.json) or a checkpoint of ESRGAN's form."""
    data: Path
    """Folder with ``s2/austria_b.tif``, dates in ``series/*/``, or both; with the simulated sets, their judges too."""
    against: tuple[str, ...] = ()
    """Further models."""


@dataclass(frozen=True)
class RealEvaluation:
    """Figures of all contenders, and places of the real scene."""

    model: str
    figures: dict[str, judge.Figures]
    """By contender, then by the figure's name; contenders without some bands lack the figures of those."""
    crops: tuple[Crop, ...]
    warnings: tuple[str, ...] = ()
    """Warnings where the scene is far from its sensor's profile."""


def evaluate_real(request: RealRequest, reporter: Reporter) -> RealEvaluation:
    """Judge a model on real images beside bicubic interpolation, back-projection and further models.

    Raises :class:`UsageError` when the folder holds neither the scene nor a series, :class:`ModelError` for a model
    that cannot be judged.
    """
    opened = [subject_of(name) for name in (request.model, *request.against)]
    found = _available(request.data, reporter)
    contenders = _named_apart([*_baselines(opened[0]), *opened])
    model = next(name for name, one in contenders.items() if one is opened[0])
    pairs = dates.find_pairs(request.data / judge.SERIES) if "dates" in found else []
    figures: dict[str, judge.Figures] = {}
    images: dict[str, Tensor] = {}
    with torch.inference_mode():
        for name, subject in contenders.items():
            figures[name] = {}
            for title in found:
                if title == "several dates" and not any(subject is one for one in opened):
                    # Interpolations are no models to be shipped, and each would register all dates again.
                    continue
                reporter.stage(f"{name}: {title}")
                figures[name] |= _judged(title, subject, request.data, pairs, images, name)
        crops = _crops(request.data, images) if images else ()
    warnings = scene_warnings(request.data) if images else ()
    for one in warnings:
        reporter.note(one)
    return RealEvaluation(model, figures, crops, warnings)


def scene_warnings(data: Path) -> tuple[str, ...]:
    """Sentences about the real scene's noise, blur and registration where they are far from Sentinel-2's profile."""
    scene = judge.read_scene(data).double().numpy()
    profile, measured = read_sensor("sentinel-2"), np.ones(scene.shape[1:], dtype=bool)
    found = []
    for name, band in zip(BANDS, scene, strict=True):
        known = profile.band(name)
        assert known is not None, "the profile has all bands of the scene"
        found.append(
            measure_band(
                name,
                band,
                measured,
                scene[0],
                measured,
                detail.DN,
                nominal_noise=known.noise_reflectance,
                mtf_nyquist=known.mtf_nyquist,
            )
        )
    return tuple(f"{judge.SCENE.name}: {one}" for one in far_from_profile(found))


def _judged(
    title: str, subject: Subject, data: Path, pairs: Sequence[dates.Pair], images: dict[str, Tensor], name: str
) -> judge.Figures:
    if title == "dates":
        return judge.judge_dates(subject, data, pairs)
    if title == "several dates":
        return judge.judge_several_dates(subject, data, pairs)
    if title == "scene":
        scene, common = judge.read_scene(data), subject.common(BANDS)
        images[name] = subject(scene, BANDS)
        lr = scene[[BANDS.index(one) for one in common]]
        calm, sensor = calm_water(scene, BANDS), subject.sensor(common)
        figures = judge.scene_figures(images[name], lr, common, calm)
        return figures | judge.measured_figures(images[name], lr, sensor, calm)
    return judge.JUDGES[title](subject, data)


def _available(data: Path, reporter: Reporter) -> list[str]:
    """Names of the judges that have their data."""
    if not data.is_dir():
        raise UsageError(f"{data} is not a folder: name one that holds {judge.SCENE.glob} or {judge.SERIES}/")
    scene = (data / judge.SCENE.glob).is_file()
    simulated = any(any(data.glob(one.glob)) for one in SETS[:-1])
    needs = {
        "edges": scene,
        "noise": scene,
        "scene": scene,
        "dates": any((data / judge.SERIES).glob("*/*.tif")),
        "several dates": any((data / judge.SERIES).glob("*/*.tif")),
        "blurs": simulated,
        "compression": any(data.glob(SETS[0].glob)),
    }
    if not scene and not needs["dates"]:
        raise UsageError(
            f"{data} holds neither {judge.SCENE.glob} nor dates in {judge.SERIES}/: no real image to judge on"
        )
    for name, there in needs.items():
        if not there:
            reporter.note(f"{data} lacks the imagery of the judge {name!r}: it is left out")
    return [name for name in judge.JUDGES if needs[name]]


def _baselines(like: Subject) -> list[Subject]:
    return [interpolation(name, like, steps) for name, steps in BASELINES.items()]


def _named_apart(subjects: Sequence[Subject]) -> Mapping[str, Subject]:
    """By name, those of one name numbered."""
    named: dict[str, Subject] = {}
    for one in subjects:
        alike = sum(name.split(" #")[0] == one.name for name in named)
        named[f"{one.name} #{alike + 1}" if alike else one.name] = one
    return named


def _crops(data: Path, images: Mapping[str, Tensor]) -> tuple[Crop, ...]:
    scene = judge.read_scene(data)
    return choose(scene, calm_water(scene, BANDS), images)
