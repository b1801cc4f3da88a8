"""An evaluation as JSON. The same run gives the same text: nothing in it depends on time or machine."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from geosr.evaluate.comparison import Row, SetEvaluation
from geosr.evaluate.contenders import SCALE
from geosr.evaluate.evaluation import Evaluation
from geosr.evaluate.held_out import NOISE, SEED
from geosr.evaluate.samples import Sample
from geosr.model.kernels import mtf_to_sigma


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but pixels. What is not a finite number is null."""
    content = {
        "model": evaluation.model,
        "scale": SCALE,
        "sensor": {
            "sigma_hr_px": {band: mtf_to_sigma(mtf, SCALE) for band, mtf in evaluation.transfers.items()},
            "noise_reflectance": NOISE,
            "seed": SEED,
        },
        "contenders": {
            one.name: {
                "bands": one.bands,
                "digest": one.digest,
                "multiply_adds_per_lr_px": one.multiply_adds_per_lr_px,
                "for_plain_images": one.for_plain_images,
                "level": one.level,
            }
            for one in evaluation.contenders
        },
        "sets": {one.which.name: _set(one) for one in evaluation.sets},
    }
    rounded: dict[str, Any] = _rounded(content)
    return rounded


def figures_of(one: SetEvaluation) -> dict[str, Any]:
    """Figures of every row by its label."""
    rounded: dict[str, Any] = _rounded({label(row, one): _figures(row) for row in one.rows})
    return rounded


def label(row: Row, one: SetEvaluation) -> str:
    """A row's name: the contender, and its bands where they are not all that the set has."""
    most = max(len(other.bands) for other in one.rows)
    return row.name if len(row.bands) == most else f"{row.name} ({', '.join(row.bands)})"


def _set(one: SetEvaluation) -> dict[str, Any]:
    return {
        **asdict(one.which),
        "images": one.images,
        "white": one.white,
        "figures": figures_of(one),
        "coverage": {
            label(row, one): {band: asdict(figures) for band, figures in row.coverage.items()}
            for row in one.rows
            if row.coverage is not None
        },
        "ring_correlation": {label(row, one): asdict(row.curve) for row in one.rows},
        "samples": [_sample(sample, one) for sample in one.samples],
    }


def _figures(row: Row) -> dict[str, Any]:
    return {"bands": row.bands, "over_bicubic_db": row.over_bicubic_db, **asdict(row.figures)}


def _sample(sample: Sample, one: SetEvaluation) -> dict[str, Any]:
    return {
        "what": sample.what,
        "image": one.images[sample.image],
        "top_px": sample.top_px,
        "left_px": sample.left_px,
        "side_px": sample.side_px,
        "error_bicubic": sample.error_interpolated,
        "error": sample.error,
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
