"""A comparison as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.evaluate.html import data_uri, document, pixels_of, png_of, table
from geosr.maps.compare import Comparison
from geosr.maps.palettes import PALETTES, Palette
from geosr.version import VERSION

#: Size of a plot, pixels.
_WIDTH, _HEIGHT, _MARGIN = 420, 200, 34

#: Lines of A and B, told apart without colours as well: B's is dashed.
_A, _B = "#1b6ca8", "#c2571a"

#: Percentile of the absolute difference at which the colours of its picture end.
_ENDS = 98

_STYLE = """
<style>
.swipe { position: relative; max-width: 100%; display: inline-block; line-height: 0; }
.swipe img { max-width: 100%; image-rendering: pixelated; }
.swipe img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 50%); }
.swipe + input { display: block; width: 100%; }
.legend { display: flex; gap: 1rem; align-items: center; }
.bar { height: 0.8rem; width: 16rem; }
</style>
"""

_SCRIPT = """
<script>
const slider = document.getElementById("swipe");
slider.addEventListener("input", () => {
  document.getElementById("second").style.clipPath = `inset(0 0 0 ${slider.value}%)`;
});
</script>
"""


def page_of(comparison: Comparison, line: Sequence[float] | None = None) -> str:
    """Write the page: table, swipe, difference, profiles and histograms."""
    first, second = (Path(name).name for name in comparison.names)
    a, b, stretch = comparison.pictures()
    difference, palette = _difference(comparison)
    unit = "values as the files scale them"
    parts = [
        _STYLE,
        f"<h1>{escape(second)} against {escape(first)}</h1>",
        f"<p>A is {escape(comparison.names[0])}, B is {escape(comparison.names[1])}. Differences are B minus A, in "
        f"{unit}. Both are shown with one stretch, {escape(f'{stretch.low:g} to {stretch.high:g}')}, gamma "
        f"{stretch.gamma:g}. geosr {escape(VERSION)}.</p>",
        "<h2>Difference</h2>",
        _table(comparison),
        "<h2>Swipe</h2>",
        f'<p>Left of the slider A, right of it B.</p><div class="swipe">{_image(a, "A", "first")}'
        f"{_image(b, 'B', 'second')}</div>"
        '<input id="swipe" type="range" min="0" max="100" value="50" aria-label="where A ends and B begins">',
        "<h2>Map of the difference</h2>",
        pixels_of(f"Mean over bands of B minus A: {palette.low:.3g} to {palette.high:.3g}", difference, "difference"),
        f'<div class="legend">{palette.low:.3g}<div class="bar" style="background: linear-gradient(to right, '
        f'{", ".join(palette.colours)})"></div>{palette.high:.3g}</div>',
        "<h2>Profiles</h2>",
        f"<p>{_LEGEND} Along {_told(line)}.</p>",
        _profiles(comparison, line),
        "<h2>Histograms</h2>",
        f"<p>{_LEGEND} Share of the pixels that were measured in both.</p>",
        _histograms(comparison),
        _SCRIPT,
    ]
    return document(f"{second} against {first}", "\n".join(parts))


_LEGEND = f'<span style="color:{_A}">A ———</span>, <span style="color:{_B}">B - - -</span>.'


def _told(line: Sequence[float] | None) -> str:
    if line is None:
        return "the middle from west to east"
    return "the line from {:g}, {:g} to {:g}, {:g}".format(*line)


def _table(comparison: Comparison) -> str:
    titles = ("band", "pixels of", "pixels", "mean", "mean absolute", "RMSE", "correlation", "5 %", "50 %", "95 %")
    rows = [
        [
            escape(one.band),
            f"{one.pixel:g}",
            str(one.count),
            *(f"{value:.4g}" for value in (one.mean, one.mean_absolute, one.rmse, one.correlation, *one.percentiles)),
        ]
        for one in comparison.differences
    ]
    return table(titles, rows, "differences")


def _image(pixels: NDArray[np.uint8], alt: str, name: str) -> str:
    uri = data_uri(png_of(np.ascontiguousarray(pixels.transpose(1, 2, 0))))
    return f'<img class="pixels" src="{uri}" alt="{escape(alt)}" id="{name}">'


def _difference(comparison: Comparison) -> tuple[NDArray[np.uint8], Palette]:
    delta = np.where(comparison.fine.both, comparison.fine.b - comparison.fine.a, 0).mean(axis=0)
    there = comparison.fine.both.all(axis=0)
    most = float(np.percentile(np.abs(delta[there]), _ENDS)) if there.any() else 1.0
    most = most or 1e-6
    palette = Palette("B minus A", -most, most, PALETTES["change"].colours)
    colours = np.where(there, palette(delta.astype(np.float32)), 255).astype(np.uint8)
    return np.ascontiguousarray(colours.transpose(1, 2, 0)), palette


def _profiles(comparison: Comparison, line: Sequence[float] | None) -> str:
    distance, a, b = comparison.profile(line)
    plots = [_plot(band, distance, [a[i], b[i]]) for i, band in enumerate(comparison.bands)]
    return f'<div class="plots">{"".join(plots)}</div>'


def _histograms(comparison: Comparison) -> str:
    plots = []
    for band, (edges, a, b) in zip(comparison.bands, comparison.histograms(), strict=True):
        plots.append(_plot(band, (edges[1:] + edges[:-1]) / 2, [a, b]))
    return f'<div class="plots">{"".join(plots)}</div>'


def _plot(title: str, x: NDArray[Any], lines: Sequence[NDArray[Any]]) -> str:
    """Two lines over ``x`` as SVG, with the ends of both axes."""
    values = np.concatenate(lines)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    span_x, span_y = float(x[-1] - x[0]) or 1.0, (high - low) or 1.0
    paths = []
    for y, colour, dash in zip(lines, (_A, _B), ("", ' stroke-dasharray="5 3"'), strict=True):
        at_x = _MARGIN + (x - x[0]) / span_x * (_WIDTH - 2 * _MARGIN)
        at_y = _HEIGHT - _MARGIN - (y - low) / span_y * (_HEIGHT - 2 * _MARGIN)
        steps, pen = [], "M"
        for px, py in zip(at_x, at_y, strict=True):
            if np.isfinite(py):
                steps.append(f"{pen}{px:.1f} {py:.1f}")
                pen = "L"
            else:
                pen = "M"
        paths.append(f'<path d="{" ".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
    bottom = _HEIGHT - _MARGIN
    texts = [
        (_MARGIN, 16, "start", title),
        (_MARGIN, bottom + 16, "start", f"{x[0]:.5g}"),
        (_WIDTH - _MARGIN, bottom + 16, "end", f"{x[-1]:.5g}"),
        (_WIDTH - _MARGIN, 16, "end", f"{low:.3g} … {high:.3g}"),
    ]
    labels = "".join(
        f'<text x="{left}" y="{top}" text-anchor="{anchor}" fill="currentColor" font-size="12">{escape(text)}</text>'
        for left, top, anchor, text in texts
    )
    axes = f'<path d="M{_MARGIN} {_MARGIN} V{bottom} H{_WIDTH - _MARGIN}" fill="none" stroke="currentColor"/>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{axes}{"".join(paths)}'
        f"{labels}</svg>"
    )
