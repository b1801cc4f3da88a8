"""Figures on real images as rows of text, one figure a row and one contender a column, and as JSON."""

from __future__ import annotations

import math
from typing import Any

from geosr.evaluate.real.evaluation import RealEvaluation


def titles(evaluation: RealEvaluation) -> list[str]:
    """Titles of the columns."""
    return ["figure", *evaluation.figures]


def rows(evaluation: RealEvaluation) -> list[list[str]]:
    """Rows of text, each beginning with the figure's name; ``–`` where a contender has none."""
    return [
        [name, *(_text(figures.get(name, math.nan)) for figures in evaluation.figures.values())]
        for name in _names(evaluation)
    ]


def as_json(evaluation: RealEvaluation) -> dict[str, Any]:
    """Everything but pixels. What is not a finite number is null."""
    return {
        "model": evaluation.model,
        "real": {
            contender: {name: round(value, 6) if math.isfinite(value) else None for name, value in figures.items()}
            for contender, figures in evaluation.figures.items()
        },
        "warnings": list(evaluation.warnings),
        "places": [
            {"what": one.what, "top_px": one.top_px, "left_px": one.left_px, "side_px": one.side_px}
            for one in evaluation.crops
        ],
    }


def _names(evaluation: RealEvaluation) -> list[str]:
    """Names of all figures, in the order of the contender that has most."""
    longest = max(evaluation.figures.values(), key=len)
    others = [name for figures in evaluation.figures.values() for name in figures]
    return list(dict.fromkeys([*longest, *others]))


def _text(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.2g}"
