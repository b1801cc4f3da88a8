"""The situation map: both dates, the change between them and its table on one page, as PDF or as offline HTML."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from geosr.before_after import CLIPPED, stretch
from geosr.errors import GeosrError, UsageError
from geosr.evaluate.html import document, table

#: Longest side of a panel, pixels.
_PANEL_PX = 1400

#: Colours of a decrease and an increase, red, green, blue.
COLOURS = ((196, 60, 40), (30, 90, 200))

#: Size of the page, inches: A4, landscape.
_PAGE = (11.69, 8.27)

_TITLES = ("change", "pixel", "hectares", "range of hectares", "areas")

_DISTRICT_TITLES = ("district", "change", "hectares", "range of hectares", "hectares at the source's pixels")

_EXPLAINED = (
    "A pixel is changed where the index differs by more than unchanged ground does. The range is what results if every "
    "error at the edges goes the same way. Detail finer than the source's pixels is partly estimated."
)


@dataclass(frozen=True)
class MapSubject:
    """Everything that the page shows."""

    title: str
    products: Sequence[Path]
    """Products of both dates."""
    dates: Sequence[str]
    classes: Path
    """Raster of classes, see :mod:`geosr.change.polygons`."""
    meanings: tuple[str, str]
    """Meanings of a decrease and an increase."""
    rows: Sequence[Sequence[str]]
    """Rows of the table."""
    notes: Sequence[str]
    district_rows: Sequence[Sequence[str]] = ()
    """Rows of the table of districts, which the page on the screen shows."""


def map_format(path: Path) -> str:
    """Format of a map by its ending. Raises :class:`UsageError` for another, :class:`GeosrError` without matplotlib."""
    form = path.suffix.lower().removeprefix(".")
    if form not in ("html", "pdf"):
        raise UsageError(f"a situation map is written as .html or .pdf, not {path.suffix or path.name}")
    if find_spec("matplotlib") is None:
        raise GeosrError("situation maps need matplotlib: python -m pip install 'geosr[change]'")
    return form


def draw_map(subject: MapSubject, path: Path) -> None:
    """Write the page."""
    if map_format(path) == "pdf":
        figure = _figure(subject, whole=True)
        figure.savefig(path, format="pdf", metadata={"Title": subject.title})
        return
    buffer = io.BytesIO()
    _figure(subject, whole=False).savefig(buffer, format="png", dpi=150)
    image = base64.b64encode(buffer.getvalue()).decode()
    body = (
        f"<h1>{escape(subject.title)}</h1>\n"
        f'<figure><img src="data:image/png;base64,{image}" style="width:100%" alt="Both dates and change"></figure>\n'
        f"{_cells(_TITLES, subject.rows, 'Hectares')}\n"
        f"{_cells(_DISTRICT_TITLES, subject.district_rows, 'Hectares by district') if subject.district_rows else ''}\n"
        f"<p>{escape(_EXPLAINED)}</p>\n<ul>" + "".join(f"<li>{escape(note)}</li>" for note in subject.notes) + "</ul>"
    )
    path.write_text(document(subject.title, body), encoding="utf-8")


def _cells(titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    return table(titles, [[escape(cell) for cell in row] for row in rows], caption)


def _figure(subject: MapSubject, *, whole: bool) -> Any:
    """Three panels, and with ``whole`` title, table and notes below them."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height = _PAGE[1] if whole else 0.52 * _PAGE[1]
    figure = Figure(figsize=(_PAGE[0], height))
    bottom, top = (0.42, 0.86) if whole else (0.12, 0.9)
    panels = _panels(subject)
    with rasterio.open(subject.classes) as raster:
        crs, bounds = raster.crs, raster.bounds
    extent = (bounds.left, bounds.right, bounds.bottom, bounds.top)
    for i, (title, image) in enumerate(zip((*subject.dates, "change"), panels, strict=True)):
        axes = figure.add_axes((0.05 + 0.32 * i, bottom, 0.28, top - bottom))
        axes.imshow(image, extent=extent, interpolation="nearest")
        axes.set_title(fill(title, 48), fontsize=7)
        axes.tick_params(labelsize=5)
        axes.ticklabel_format(style="plain", useOffset=False)
        axes.locator_params(nbins=4)
        axes.grid(visible=True, linewidth=0.3, alpha=0.4, color="white")
        for label in axes.get_yticklabels():
            label.set_rotation(90)
            label.set_verticalalignment("center")
        if i == 0:
            axes.set_xlabel(f"{crs.to_string()}, {_unit(crs)}", fontsize=5)
        _scale_bar(axes, crs, bounds)
        axes.annotate(
            "N",
            (0.96, 0.97),
            (0.96, 0.86),
            xycoords="axes fraction",
            fontsize=8,
            ha="center",
            va="top",
            color="white",
            arrowprops={"arrowstyle": "->", "color": "white"},
        )
    legend = [
        Patch(color=(colour[0] / 255, colour[1] / 255, colour[2] / 255), label=meaning)
        for colour, meaning in zip(COLOURS, subject.meanings, strict=True)
    ]
    axes.legend(handles=legend, fontsize=6, loc="lower right")
    if whole:
        figure.text(0.05, 0.94, subject.title, fontsize=16, weight="bold")
        below = figure.add_axes((0.05, 0.2, 0.9, 0.16))
        below.axis("off")
        cells = below.table(
            cellText=[list(row) for row in subject.rows], colLabels=_TITLES, loc="upper left", cellLoc="left"
        )
        cells.auto_set_font_size(False)
        cells.set_fontsize(7)
        lines = [_EXPLAINED, *subject.notes]
        figure.text(0.05, 0.18, "\n".join(fill(line, 190) for line in lines), fontsize=6, va="top")
    return figure


def _panels(subject: MapSubject) -> list[NDArray[np.uint8]]:
    """Both dates at one stretch, and the change over the earlier one in grey."""
    colours = [_colours(path) for path in subject.products]
    limits = np.percentile(colours[0][np.isfinite(colours[0])], CLIPPED)
    shown = [stretch(np.nan_to_num(one, nan=math.inf), limits) for one in colours]
    with rasterio.open(subject.classes) as raster:
        classes = raster.read(1, out_shape=shown[0].shape[:2], resampling=Resampling.mode)
    grey = np.repeat(shown[0].mean(axis=2, keepdims=True), 3, axis=2)
    change = (120 + 0.5 * grey).astype(np.uint8)
    for kind, colour in enumerate(COLOURS, 1):
        change[classes == kind] = colour
    return [*shown, change]


def _colours(path: Path) -> NDArray[np.float32]:
    """Red, green and blue ``(3, rows, cols)`` of a product, reduced to the panel's size; NaN where there are none."""
    with rasterio.open(path) as raster:
        names = list(raster.descriptions)
        indexes = [names.index(band) + 1 for band in ("B04", "B03", "B02")] if "B04" in names else [1, 1, 1]
        factor = max(1.0, max(raster.shape) / _PANEL_PX)
        shape = (len(indexes), *(max(1, round(side / factor)) for side in raster.shape))
        read = raster.read(indexes, out_shape=shape, resampling=Resampling.average)
        valid = raster.read_masks(indexes, out_shape=shape, resampling=Resampling.nearest) > 0
    pixels: NDArray[np.float32] = read.astype(np.float32)
    pixels[~valid] = np.nan
    return pixels


def _unit(crs: Any) -> str:
    return "degrees" if crs.is_geographic else str(crs.linear_units)


def _scale_bar(axes: Any, crs: Any, bounds: Any) -> None:
    """A bar of 1, 2 or 5 times a power of ten, about a quarter of the panel."""
    width = bounds.right - bounds.left
    per_unit = crs.linear_units_factor[1] if not crs.is_geographic else None
    if per_unit is None:
        middle = math.radians((bounds.top + bounds.bottom) / 2)
        per_unit = 111_320 * math.cos(middle)
    wanted = width * per_unit / 4
    power = 10 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    left, low = bounds.left + 0.05 * width, bounds.bottom + 0.06 * (bounds.top - bounds.bottom)
    axes.plot([left, left + length / per_unit], [low, low], color="white", linewidth=2.5, solid_capstyle="butt")
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(left, low + 0.02 * (bounds.top - bounds.bottom), text, color="white", fontsize=6)
