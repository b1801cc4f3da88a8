"""Measurements of a scene as rows of text."""

from __future__ import annotations

import math

from geosr.evaluate.scene.measure import BandQuality, SceneQuality

TITLES = (
    *("band", "noise, DN", "dark to bright", "neighbours", "edges", "blur p5, px", "p25", "nominal"),
    *("shift, px", "p95"),
)


def rows(quality: SceneQuality) -> list[list[str]]:
    """A row a band, as ``TITLES`` say; ``–`` where something could not be measured."""
    return [_row(one) for one in quality.bands]


def _row(one: BandQuality) -> list[str]:
    unit = one.noise.deviation / one.noise_dn if one.noise_dn else math.nan
    return [
        one.name,
        _text(one.noise_dn, 1),
        " ".join(_text(at.deviation / unit, 1) for at in one.noise.by_signal) or "–",
        _text(one.noise.neighbour_correlation, 2),
        str(one.blur.edges),
        _text(one.blur.sharpest_px, 2),
        _text(one.blur.sharp_px, 2),
        "–" if one.nominal_blur_px is None else _text(one.nominal_blur_px, 2),
        _text(one.registration.median_px, 2),
        _text(one.registration.p95_px, 2),
    ]


def _text(value: float, digits: int) -> str:
    return "–" if not math.isfinite(value) else f"{value:.{digits}f}"
