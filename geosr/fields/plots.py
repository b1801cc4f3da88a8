"""Plots of fields over time: one picture a field, one panel a measure."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tiling
from geosr.errors import GeosrError

#: Share of a field without a measurement from which on a date is drawn hollow.
_LITTLE = 0.5

_COLOUR, _SOURCE_COLOUR = "#1b6e3c", "#777777"


def draw_series(rows: pd.DataFrame, folder: Path, *, fresh: bool) -> int:
    """Draw each field's means over time, with their half-widths, to ``folder/FIELD.png``; returns how many.

    Pictures that are there are drawn anew only if the rows are ``fresh``.

    Raises :class:`geosr.errors.GeosrError` without Matplotlib.
    """
    check_plots()
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    drawn = 0
    for field, own in rows.groupby("field", sort=False):
        name = _file_name(str(field))
        while name in names:
            name += "_"
        names.add(name)
        path = folder / f"{name}.png"
        if fresh or not path.exists():
            tiling.write(path, [_draw(str(field), own)])
            drawn += 1
    return drawn


def check_plots() -> None:
    """Refuse plots where they cannot be drawn. Raises :class:`geosr.errors.GeosrError`."""
    if find_spec("matplotlib") is None:
        raise GeosrError("--plots needs matplotlib: python -m pip install 'geosr[fields]'")


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip(".")[:100] or "field"


def _draw(field: str, rows: pd.DataFrame) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    measures = list(dict.fromkeys(rows["measure"]))
    height = 0.9 + 2.4 * len(measures)
    figure = Figure(figsize=(8, height))
    # A layout that is solved for takes longer than all the rest.
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.5 / height, top=1 - 0.4 / height, hspace=0.08)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    for axis, measure in zip(axes, measures, strict=True):
        _draw_measure(axis, measure, rows[rows["measure"] == measure].sort_values("time"))
    locator = AutoDateLocator(  # type: ignore[no-untyped-call]
        minticks=3, maxticks=9
    )
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes[0].set_title(f"field {field}", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_measure(axis: Any, measure: str, rows: pd.DataFrame) -> None:
    times, mean = rows["time"].dt.tz_localize(None).to_numpy(), rows["mean"].to_numpy()
    width = np.nan_to_num(rows["half_width"].to_numpy())
    pixel_m = rows["pixel_m"].iloc[0]
    if rows["source_mean"].notna().any():
        at = rows["source_pixel_m"].dropna().iloc[0]
        axis.plot(
            times,
            rows["source_mean"],
            "x--",
            color=_SOURCE_COLOUR,
            linewidth=0.9,
            markersize=4,
            label=f"mean, {at:g} m",
        )
    axis.plot(times, mean, color=_COLOUR, linewidth=1.2)
    label = f"mean, {pixel_m:g} m" + (", with the half-width of its 90 % interval" if width.any() else "")
    axis.errorbar(times, mean, yerr=width, fmt="none", ecolor=_COLOUR, elinewidth=1.2, capsize=3)
    poor = rows["nodata_share"].to_numpy() > _LITTLE
    axis.plot(times[~poor], mean[~poor], "o", color=_COLOUR, markersize=4, label=label)
    if poor.any():
        axis.plot(
            *(times[poor], mean[poor], "o"), color=_COLOUR, markersize=4, mfc="white", label="less than half measured"
        )
    axis.set_ylabel(measure if len(measure) < 20 else f"{measure[:18]}…")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
    if len(rows) == 1:
        day = np.timedelta64(1, "D")
        axis.set_xlim(times[0] - 3 * day, times[0] + 3 * day)
