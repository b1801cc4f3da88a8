"""Figures of a build: shifts and correlations before and after, and what was left out and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geosr.pairs.config import PairsConfig
from geosr.pairs.plan import Block
from geosr.pairs.screen import REASONS
from geosr.pairs.sources import Match
from geosr.registration.shift_surface import ShiftSurface


@dataclass(frozen=True)
class Found:
    """All that a build has found."""

    config: PairsConfig
    matches: Sequence[Match]
    surfaces: Sequence[ShiftSurface | None]
    blocks: Sequence[Block]
    before: Sequence[dict[str, Any]]
    """Records of each block by :func:`geosr.pairs.block_work.measure`."""
    after: Sequence[dict[str, Any]]
    """Records of each block by :func:`geosr.pairs.block_work.make_patch`."""

    def of(self, match: int | None = None, *, kept: bool = False) -> Iterator[int]:
        """Blocks of a match, or of all; only those that are kept if so told."""
        for i, block in enumerate(self.blocks):
            if match in (None, block.match) and (not kept or self.after[i]["reason"] is None):
                yield i


def figures_of(found: Found) -> dict[str, Any]:
    """The content of ``report.json``: lengths in LR pixels."""
    reasons = [one["reason"] for one in found.after]
    return {
        "name": found.config.name,
        "bands": list(found.config.bands),
        "scale": found.config.scale,
        "patch_lr_px": found.config.patch_lr_px,
        "patches": {
            "looked_at": len(reasons),
            "kept": reasons.count(None),
            "rejected": {reason: reasons.count(reason) for reason in REASONS if reason in reasons},
        },
        "kept": _figures(found, list(found.of(kept=True))),
        "all_aligned": _figures(found, [i for i in found.of() if shown(found, i)]),
        "matches": [_match(found, number) for number in range(len(found.matches))],
    }


def shown(found: Found, i: int) -> bool:
    """Tell whether a block's shift is known before and after."""
    return found.before[i]["shift"][2] is not None and found.after[i].get("residual", [0, 0, None])[2] is not None


def _match(found: Found, number: int) -> dict[str, Any]:
    match, surface = found.matches[number], found.surfaces[number]
    return {
        "lr": match.lr.scene.id,
        "hr": match.hr.scene.id,
        "blocks": len(list(found.of(number))),
        "kept": len(list(found.of(number, kept=True))),
        "surface": None
        if surface is None
        else {
            "order": surface.order,
            "patches": surface.patches,
            "outliers": surface.outliers,
            "spread_px": round(surface.spread_px, 4),
        },
    }


def _figures(found: Found, blocks: Sequence[int]) -> dict[str, Any] | None:
    """Shifts and correlations of some blocks, before and after; None for no blocks."""
    if not blocks:
        return None
    return {
        "shift_before_px": _lengths([found.before[i]["shift"] for i in blocks]),
        "shift_after_px": _lengths([found.after[i]["residual"] for i in blocks]),
        "correlation_before": _by_band(found, [found.before[i]["correlations"] for i in blocks]),
        "correlation_after": _by_band(found, [found.after[i]["correlations"] for i in blocks]),
    }


def _lengths(shifts: Sequence[Sequence[float]]) -> dict[str, float]:
    lengths = [math.hypot(shift[0], shift[1]) for shift in shifts]
    return {
        "median": round(float(np.median(lengths)), 4),
        "p95": round(float(np.quantile(lengths, 0.95)), 4),
        "rms": round(float(np.sqrt(np.mean(np.square(lengths)))), 4),
    }


def _by_band(found: Found, correlations: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    table = np.array(correlations)
    return {
        band: {"median": round(float(np.median(own)), 4), "p5": round(float(np.quantile(own, 0.05)), 4)}
        for band, own in zip(found.config.bands, table.T, strict=True)
    }
