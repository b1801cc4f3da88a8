"""An evaluation as tables: what stands in which column, for the terminal and for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from geosr.evaluate.comparison import Row, SetEvaluation
from geosr.evaluate.result import label


@dataclass(frozen=True)
class Column:
    """One figure."""

    title: str
    value: Callable[[Row], float]
    digits: int
    better: int = 0
    """1 where more is better, -1 where less is, 0 where neither can be said."""
    sign: bool = False

    def text(self, row: Row) -> str:
        """The figure, ``–`` where it is not defined."""
        number = self.value(row)
        if math.isnan(number):
            return "–"
        if math.isinf(number):
            return "∞"
        return f"{number:{'+' if self.sign else ''}.{self.digits}f}"


#: How close to the truth.
FIDELITY = (
    Column("PSNR, dB", lambda row: row.figures.psnr_db, 2, 1),
    Column("over bicubic", lambda row: row.over_bicubic_db, 2, 1, sign=True),
    Column("SSIM", lambda row: row.figures.ssim, 3, 1),
    Column("angle, °", lambda row: row.figures.spectral_angle_deg, 2, -1),
    Column("ERGAS", lambda row: row.figures.ergas, 2, -1),
    Column("resolution, LR px", lambda row: row.figures.effective_resolution_lr_px, 2, -1),
    Column("HR px", lambda row: row.figures.effective_resolution_hr_px, 2, -1),
    Column("m at 10 m input", lambda row: row.figures.effective_resolution_m, 1, -1),
)

#: How true to the input, and what the detail that is added is worth.
TRUST = (
    Column("consistency", lambda row: row.figures.consistency, 4, -1),
    Column("gain", lambda row: _farthest(row.figures.gain.values(), 1), 3),
    Column("bias", lambda row: _farthest(row.figures.bias.values(), 0), 4, sign=True),
    Column("shift, HR px", lambda row: row.figures.registration_shift_px, 2, -1),
    Column("improvement", lambda row: row.figures.improvement, 3, 1),
    Column("omission", lambda row: row.figures.omission, 3, -1),
    Column("hallucination", lambda row: row.figures.hallucination, 3, -1),
    Column("opensr reflectance", lambda row: row.figures.opensr_reflectance, 4, -1),
    Column("spectral, °", lambda row: row.figures.opensr_spectral_deg, 2, -1),
    Column("shift, LR px", lambda row: row.figures.opensr_shift_lr_px, 2, -1),
)

GROUPS = {"Closeness to the truth": FIDELITY, "Truth to the input, and worth of the detail": TRUST}

#: Of the calibrated half-widths.
COVERAGE_TITLES = (
    *("model", "band", "promised", "covered", "brightest tenth", "darkest tenth", "strongest edges"),
    *("mean half-width", "constant one", "rank correlation"),
)


def cells(one: SetEvaluation, columns: Sequence[Column]) -> list[list[str]]:
    """Rows of text, each beginning with its label."""
    return [[label(row, one), *(column.text(row) for column in columns)] for row in one.rows]


def coverage_cells(one: SetEvaluation) -> Iterator[list[str]]:
    """A row for each model with half-widths and band, as ``COVERAGE_TITLES`` say."""
    for row in one.rows:
        for band, of in (row.coverage or {}).items():
            shares = (row.level or math.nan, of.overall, of.brightest, of.darkest, of.edges)
            yield [
                label(row, one),
                band,
                *(f"{share:.1%}" for share in shares),
                f"{of.mean_half_width:.4f}",
                f"{of.constant_half_width:.4f}",
                f"{of.rank_correlation:.2f}",
            ]


def _farthest(values: Iterable[float], right: float) -> float:
    """Value of the band farthest from what is right."""
    return max(values, key=lambda value: abs(value - right))
