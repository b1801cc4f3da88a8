"""The report's plots, as PNG. They need matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geosr.pairs.figures import Found, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_BEFORE, _AFTER = "#9aa4ad", "#1f6feb"


def shift_maps(found: Found, match: int) -> bytes:
    """The shift of each block of one pair of scenes: as it was, by the surface, and what is left. Arrows per panel."""
    figure = _figure(11.0, 4.2)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    blocks = [i for i in found.of(match) if shown(found, i)]
    places = np.array([found.blocks[i].centre for i in blocks]).reshape(-1, 2)
    before = np.array([found.before[i]["shift"][:2] for i in blocks]).reshape(-1, 2)
    after = np.array([found.after[i]["residual"][:2] for i in blocks]).reshape(-1, 2)
    surface = found.surfaces[match]
    model = np.zeros_like(before)
    if surface is not None and len(places):
        model = np.stack(surface.at(places[:, 0], places[:, 1]), axis=1)
    kept = np.array([found.after[i]["reason"] is None for i in blocks], dtype=bool)
    for axis, title, shifts in zip(axes, ("before", "smooth model", "after"), (before, model, after), strict=True):
        _arrows(figure, axis, places, shifts, kept if title == "after" else None)
        axis.set_title(f"{title}, LR pixels" + ("; grey: left out" if title == "after" else ""), fontsize=10)
    axes[0].set_ylabel("row of the LR grid")
    axes[0].invert_yaxis()
    return _png(figure)


def _arrows(
    figure: Figure, axis: Any, places: NDArray[np.float64], shifts: NDArray[np.float64], kept: NDArray[np.bool_] | None
) -> None:
    axis.set_xlabel("column")
    axis.set_aspect("equal")
    if not len(places):
        return
    lengths = np.hypot(*shifts.T)
    spacing = float(np.median(np.diff(np.unique(places[:, 1])))) if len(np.unique(places[:, 1])) > 1 else 64.0
    # The 90th percentile fills a block: single wrong peaks would make all other arrows points.
    unit = max(float(np.quantile(lengths, 0.9)), 1e-6) / (0.9 * spacing)
    limit = max(float(np.quantile(lengths, 0.95)), 1e-6)
    axis.set_xlim(places[:, 1].min() - spacing, places[:, 1].max() + spacing)
    axis.set_ylim(places[:, 0].min() - spacing, places[:, 0].max() + spacing)
    shown_as = np.ones(len(places), bool) if kept is None else kept
    options = {"angles": "xy", "scale_units": "xy", "scale": unit, "pivot": "mid", "width": 0.006}
    if (~shown_as).any():
        faint = ~shown_as
        axis.quiver(places[faint, 1], places[faint, 0], shifts[faint, 1], shifts[faint, 0], color="#c5ccd2", **options)
    if shown_as.any():
        arrows = axis.quiver(
            places[shown_as, 1],
            places[shown_as, 0],
            shifts[shown_as, 1],
            shifts[shown_as, 0],
            lengths[shown_as],
            cmap="viridis",
            clim=(0, limit),
            **options,
        )
        figure.colorbar(arrows, ax=axis, shrink=0.8)


def shift_clouds(found: Found) -> bytes:
    """Shifts of all blocks as points, before and after, on one scale."""
    figure = _figure(5.0, 4.6)
    axes = figure.subplots()
    limit = found.config.screening.max_residual_px
    blocks = [i for i in found.of() if shown(found, i)]
    for name, colour, shifts in (
        ("before", _BEFORE, [found.before[i]["shift"] for i in blocks]),
        ("after", _AFTER, [found.after[i]["residual"] for i in blocks]),
    ):
        axes.scatter([one[1] for one in shifts], [one[0] for one in shifts], s=9, color=colour, label=name, alpha=0.7)
    turns = np.linspace(0, 2 * math.pi, 100)
    axes.plot(limit * np.cos(turns), limit * np.sin(turns), color="#444", linewidth=0.8, label="largest that is kept")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("shift along columns, LR pixels")
    axes.set_ylabel("along rows")
    axes.legend(fontsize=8)
    return _png(figure)


def correlations(found: Found) -> bytes:
    """Correlation of LR with the observed HR by band, before and after: all blocks that show their shift."""
    figure = _figure(6.4, 3.6)
    axes = figure.subplots()
    blocks = [i for i in found.of() if shown(found, i)]
    for offset, colour, name, values in (
        (-0.17, _BEFORE, "before", [found.before[i]["correlations"] for i in blocks]),
        (0.17, _AFTER, "after", [found.after[i]["correlations"] for i in blocks]),
    ):
        table = np.array(values).reshape(-1, len(found.config.bands))
        if len(table):
            boxes = axes.boxplot(
                list(table.T),
                positions=[band + offset for band in range(table.shape[1])],
                widths=0.28,
                patch_artist=True,
                sym=".",
                medianprops={"color": "black"},
            )
            for box in boxes["boxes"]:
                box.set_facecolor(colour)
            axes.plot([], [], "s", color=colour, label=name)
    axes.axhline(found.config.screening.min_correlation, color="#444", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(found.config.bands)), list(found.config.bands))
    axes.set_ylabel("correlation")
    axes.legend(fontsize=8)
    return _png(figure)


def reasons(counts: dict[str, int]) -> bytes:
    """Chart of the blocks that were kept, and of the reasons why others were not."""
    figure = _figure(6.4, 0.9 + 0.36 * len(counts))
    axes = figure.subplots()
    colours = [_AFTER if name == "kept" else _BEFORE for name in counts]
    bars = axes.barh(list(counts), list(counts.values()), color=colours)
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("blocks")
    return _png(figure)


def patch_panels(panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> bytes:
    """Pictures ``(rows, cols, 3)`` side by side."""
    figure = _figure(11.0, 4.0)
    for axis, (title, picture) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    return _png(figure)


def _figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the software's name the same figures give the same bytes under other versions' labels too.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
