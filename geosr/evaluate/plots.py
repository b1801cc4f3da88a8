"""Plots of an evaluation, as PNG for a light or a dark page: their background is transparent."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from geosr.evaluate.comparison import SetEvaluation
from geosr.evaluate.contenders import INTERPOLATIONS
from geosr.evaluate.coverage import Coverage
from geosr.evaluate.metrics import THRESHOLD
from geosr.evaluate.result import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

_INK = {"light": "#1c2126", "dark": "#e6e9ec"}
_FAINT = {"light": "#9aa3ab", "dark": "#6b747c"}

#: Of the model that is evaluated; others take the rest in turn, interpolations are grey.
_ACCENT = "#d1495b"
_OTHERS = ("#2e86ab", "#e0912f", "#5b9a4b", "#8d6cab")
_GREY = "#8b949c"
_STYLES = ("-", "--", "-.", ":")

_SHARES = {"improvement": "#4f9d69", "omission": "#a9b1b8", "hallucination": "#d1495b"}
_PARTS = {"overall": "o", "brightest": "^", "darkest": "v", "edges": "D"}

_WIDTH_IN = 5.6
_ROW_IN = 0.4
_DPI = 144


def gain_bars(one: SetEvaluation, subject: str, theme: Theme) -> bytes:
    """PSNR over bicubic interpolation, by contender."""
    names = [label(row, one) for row in one.rows]
    gains = [row.over_bicubic_db if math.isfinite(row.over_bicubic_db) else 0.0 for row in one.rows]
    figure, axes = _canvas(theme, 0.9 + _ROW_IN * len(names))
    bars = axes.barh(_wrapped(names), gains, color=list(_colours(one, subject).values()), height=0.66)
    axes.bar_label(bars, [f"{gain:+.2f}" for gain in gains], padding=4, color=_INK[theme], fontsize=9)
    axes.margins(x=0.24)
    axes.axvline(0, color=_FAINT[theme], linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("PSNR over bicubic, dB")
    return _png(figure)


def detail_shares(one: SetEvaluation, theme: Theme) -> bytes:
    """Improvement, omission and hallucination, by contender."""
    names = [label(row, one) for row in one.rows]
    figure, axes = _canvas(theme, 1.3 + _ROW_IN * len(names))
    left = [0.0] * len(names)
    for share, colour in _SHARES.items():
        widths = [getattr(row.figures, share) for row in one.rows]
        widths = [0.0 if math.isnan(width) else width for width in widths]
        axes.barh(_wrapped(names), widths, left=left, color=colour, height=0.66, label=share)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_xlabel("share of the detail")
    _legend(figure, axes, theme, columns=3)
    return _png(figure)


def ring_correlations(one: SetEvaluation, subject: str, theme: Theme) -> bytes:
    """Fourier ring correlation with the truth, by contender."""
    figure, axes = _canvas(theme, 4.4)
    colours = _colours(one, subject)
    for i, row in enumerate(one.rows):
        name = label(row, one)
        axes.plot(
            row.curve.cycles_per_lr_px,
            row.curve.correlation,
            color=colours[name],
            linestyle=_STYLES[i % len(_STYLES)],
            linewidth=2.4 if row.name == subject else 1.3,
            label=name,
        )
    axes.axhline(THRESHOLD, color=_FAINT[theme], linewidth=1)
    axes.axvline(0.5, color=_FAINT[theme], linewidth=1, linestyle=":")
    axes.text(0.52, 1.0, "the input's limit", color=_INK[theme], fontsize=8, va="top")
    axes.set_xlim(0, one.rows[0].curve.cycles_per_lr_px[-1])
    axes.set_ylim(min(0.0, *(min(row.curve.correlation) for row in one.rows)), 1.02)
    axes.set_xlabel("cycles per pixel of the input")
    axes.set_ylabel("correlation with the truth")
    _legend(figure, axes, theme, columns=2)
    return _png(figure)


def coverage_dots(coverage: Mapping[str, Coverage], level: float, theme: Theme) -> bytes:
    """Share of pixels within the interval: of all, and where it is hardest, by band."""
    figure, axes = _canvas(theme, 3.4)
    bands = list(coverage)
    for i, (part, marker) in enumerate(_PARTS.items()):
        places = [band + 0.14 * (i - 1.5) for band in range(len(bands))]
        shares = [getattr(coverage[band], part) for band in bands]
        colour = (_ACCENT, *_OTHERS)[i]
        axes.plot(places, shares, marker, color=colour, markersize=8, label="all pixels" if part == "overall" else part)
    axes.axhline(level, color=_INK[theme], linewidth=1, linestyle="--")
    axes.text(-0.45, level, f"promised: {level:.0%} ", color=_INK[theme], fontsize=8, va="bottom")
    axes.set_xlim(-0.5, len(bands) - 0.5)
    axes.set_xticks(range(len(bands)), bands)
    axes.set_ylabel("share within the interval")
    _legend(figure, axes, theme, columns=4)
    return _png(figure)


def _colours(one: SetEvaluation, subject: str) -> dict[str, str]:
    """By label. Interpolations are told apart by their lines."""
    colours = {}
    others = iter(_OTHERS * len(one.rows))
    for row in one.rows:
        grey = row.name in INTERPOLATIONS
        colours[label(row, one)] = _ACCENT if row.name == subject else _GREY if grey else next(others)
    return colours


def _wrapped(names: Sequence[str]) -> list[str]:
    """Bands in a line of their own: bars need the room."""
    return [name.replace(" (B", "\n(B") for name in names]


def _canvas(theme: Theme, height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=_INK[theme], labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_INK[theme])
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_FAINT[theme])
    return figure, axes


def _legend(figure: Figure, axes: Axes, theme: Theme, *, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, labelcolor=_INK[theme]
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the software's name the same figures give the same bytes under other versions' labels too.
    figure.savefig(buffer, format="png", dpi=_DPI, transparent=True, metadata={"Software": None})
    return buffer.getvalue()
