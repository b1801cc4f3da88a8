"""The work on one block, as workers do it: its shift is measured; then, with the scene's shifts known, its patch made.

A unit is finished when its file is there, for files are renamed into place when they are whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

import tiling
from geosr.pairs.config import PairsConfig
from geosr.pairs.plan import Block
from geosr.pairs.resample import hr_on_lr_grid
from geosr.pairs.screen import RESIDUAL_REACH_PX, Verdict, examine
from geosr.pairs.sources import Match
from geosr.registration.align import UNKNOWN, Shift, band_correlations, measure_shift
from geosr.registration.observed import Observed, observe
from geosr.registration.shift_surface import ShiftSurface
from tiling import fill_invalid

#: LR pixels beyond the largest shift that the blur and the spline reach.
_BLUR_REACH_PX = 3

#: Reflectance is stored as Sentinel-2 stores it: whole numbers, with room for values below 0.
DN_PER_REFLECTANCE = 10000
DN_OFFSET = 1000

#: Share of a block that has to be measured for its shift to be.
_MEASURABLE = 0.4

#: How far holes are filled from, LR pixels.
_FILL_REACH_PX = 16


@dataclass(frozen=True)
class Unit:
    """One block and all that its work needs: plain data, which other processes can receive."""

    config: PairsConfig
    match: Match
    block: Block
    folder: Path
    """Folder of its file."""
    surface: ShiftSurface | None = None
    """The shifts over the scene, once they are known."""

    @property
    def path(self) -> Path:
        return self.folder / f"{self.block.key}.json"

    @property
    def tensors(self) -> Path:
        """The patch itself, of a block that is kept."""
        return self.folder / f"{self.block.key}.safetensors"


def measure(unit: Unit) -> str:
    """Measure the shift of a block, and write it with the bands' correlations before anything is moved: its key."""
    reach = int(np.ceil(unit.config.max_shift_px))
    lr, valid = unit.match.lr.read(unit.block.window)
    observed = _observed(unit, reach + _BLUR_REACH_PX)[0]
    still = np.zeros(2)
    shift, correlations = UNKNOWN, [0.0] * len(lr)
    if (valid & observed.at(still)[1]).mean() >= _MEASURABLE:
        shift = measure_shift(lr, valid, observed, unit.config.max_shift_px)
        correlations = band_correlations(lr, valid, observed, still)
    _write(unit.path, {"shift": _of_shift(shift), "correlations": _rounded(correlations)})
    return unit.block.key


def make_patch(unit: Unit) -> str:
    """Make the patch of a block and examine it; write what was found, and the patch when it is kept: its key."""
    margin = int(np.ceil(RESIDUAL_REACH_PX)) + _BLUR_REACH_PX
    lr, valid = unit.match.lr.read(unit.block.window)
    if unit.surface is None:
        _write(unit.path, {"reason": "shift unknown"})
        return unit.block.key
    observed, hr, hr_valid = _observed(unit, margin)
    verdict = examine(lr, valid, observed, unit.config.screening)
    if verdict.reason is None:
        inner = slice(unit.config.scale * margin, -unit.config.scale * margin)
        patch = _tensors(lr, hr[:, inner, inner], hr_valid[inner, inner], verdict)
        tiling.write(unit.tensors, [save(patch)])
    _write(unit.path, _of_verdict(verdict))
    return unit.block.key


def read_unit(path: Path) -> dict[str, Any]:
    """Content that a finished unit has written."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def shift_of(content: dict[str, Any]) -> Shift:
    """The shift that :func:`measure` wrote."""
    rows, cols, error, correlation = content["shift"]
    return Shift(rows, cols, float("inf") if error is None else error, correlation)


def _observed(unit: Unit, margin: int) -> tuple[Observed, NDArray[np.float64], NDArray[np.bool_]]:
    """HR under a block as LR sees it, and as it is: ``(bands, rows, cols)`` and what was measured, with a margin."""
    config = unit.config
    grid = unit.match.lr.scene.geobox
    hr, valid = hr_on_lr_grid(unit.match.hr, grid, unit.block.padded(margin), config.scale, unit.surface)
    return observe(hr, valid, config.transfers, config.scale, margin), hr, valid


def _tensors(
    lr: NDArray[np.float64], hr: NDArray[np.float64], hr_valid: NDArray[np.bool_], verdict: Verdict
) -> dict[str, NDArray[Any]]:
    """LR, harmonised HR, and which LR pixels and their HR count; what does not is filled from around it."""
    scale = hr.shape[1] // lr.shape[1]
    gains, offsets = ([getattr(line, name) for line in verdict.lines] for name in ("gain", "offset"))
    hr = hr * np.reshape(gains, (-1, 1, 1)) + np.reshape(offsets, (-1, 1, 1))
    return {
        "hr": _to_dn(hr, hr_valid, _FILL_REACH_PX * scale),
        "lr": _to_dn(lr, verdict.valid, _FILL_REACH_PX),
        "valid": verdict.valid.astype(np.uint8),
    }


def _to_dn(image: NDArray[np.float64], valid: NDArray[np.bool_], reach_px: int) -> NDArray[np.uint16]:
    filled = fill_invalid(image.astype(np.float32), np.broadcast_to(valid, image.shape), reach_px)
    dn = np.rint(filled.astype(np.float64) * DN_PER_REFLECTANCE + DN_OFFSET)
    return np.clip(dn, 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _of_shift(shift: Shift) -> list[float | None]:
    error = round(shift.error_px, 5) if np.isfinite(shift.error_px) else None
    return [round(shift.rows_px, 5), round(shift.cols_px, 5), error, round(shift.correlation, 5)]


def _of_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "reason": verdict.reason,
        "valid": round(float(verdict.valid.mean()), 5),
        "residual": _of_shift(verdict.residual),
        "correlations": _rounded(verdict.correlations),
        "gains": _rounded([line.gain for line in verdict.lines]),
        "offsets": _rounded([line.offset for line in verdict.lines]),
        "changed": round(verdict.changed, 5),
    }


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]


def _write(path: Path, content: dict[str, Any]) -> None:
    tiling.write(path, [(json.dumps(content) + "\n").encode()])
