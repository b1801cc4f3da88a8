"""An evaluation as one HTML page: tables, plots and places, with all that it shows inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geosr.before_after import CLIPPED, stretch
from geosr.evaluate import plots
from geosr.evaluate.comparison import SetEvaluation
from geosr.evaluate.evaluation import Evaluation
from geosr.evaluate.held_out import NOISE
from geosr.evaluate.html import data_uri, document, pixels_of, table
from geosr.evaluate.result import label
from geosr.evaluate.samples import Sample
from geosr.evaluate.table import COVERAGE_TITLES, GROUPS, Column, coverage_cells

_COLOURS = ("B04", "B03", "B02")


def page(evaluation: Evaluation) -> str:
    """The page's text. It loads nothing, and needs matplotlib while it is made."""
    subject = next(one for one in evaluation.contenders if one.name == evaluation.model)
    shown = [band for band in evaluation.transfers if band in subject.bands]
    title = f"Evaluation of {evaluation.model}"
    intro = (
        f"Each image is taken as the truth, blurred as Sentinel-2 blurs ({', '.join(evaluation.transfers)}), sampled "
        f"at every fourth pixel, given noise of {NOISE} reflectance, and upscaled again by every contender. Figures "
        "are means over the images of a set; the best of a column is bold. Of gain and bias, the band that is farthest "
        "from 1 and 0 is shown."
    )
    sets = [_set(one, evaluation.model, shown) for one in evaluation.sets]
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(intro)}</p>", *sets]
    return document(title, "\n".join(body))


def _set(one: SetEvaluation, subject: str, bands: Sequence[str]) -> str:
    count = f"{len(one.images)} image{'s' if len(one.images) > 1 else ''}"
    parts = [f"<h2>{escape(one.which.name)}</h2>", f"<p>{count}: {escape(one.which.glob)}.</p>"]
    for title, columns in GROUPS.items():
        titles = ["model", *(column.title for column in columns)]
        parts += [f"<h3>{escape(title)}</h3>", table(titles, _marked(one, columns), title)]
    half_widths = [[escape(cell) for cell in row] for row in coverage_cells(one)]
    if half_widths:
        parts += ["<h3>Half-widths</h3>", table(COVERAGE_TITLES, half_widths, "Half-widths")]
    parts += [
        f'<div class="plots">{"".join(_plots(one, subject))}</div>',
        "<h3>Places</h3>",
        "<p>Where the model's error is below bicubic's by the most, the median and the least.</p>",
        *(_place(sample, one, subject, bands) for sample in one.samples),
    ]
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _plots(one: SetEvaluation, subject: str) -> Iterator[str]:
    yield _plot(lambda theme: plots.gain_bars(one, subject, theme), _gains_in_words(one))
    yield _plot(
        lambda theme: plots.detail_shares(one, theme),
        "Improvement, omission and hallucination of every contender, as in the table above",
    )
    yield _plot(
        lambda theme: plots.ring_correlations(one, subject, theme),
        "Fourier ring correlation with the truth against spatial frequency; where it falls to 0.5 is the effective "
        "resolution of the table above",
    )
    for row in one.rows:
        if row.coverage is not None and row.level is not None:
            yield _plot(
                partial(plots.coverage_dots, row.coverage, row.level),
                f"Share of pixels within the interval of {label(row, one)}, by band, as in the table of half-widths",
            )


def _marked(one: SetEvaluation, columns: Sequence[Column]) -> list[list[str]]:
    """Rows of HTML, the best of each column in bold among those judged by all bands."""
    most = max(len(row.bands) for row in one.rows)
    best = {
        column.title: max(column.better * column.value(row) for row in one.rows if len(row.bands) == most)
        for column in columns
        if column.better
    }
    return [
        [
            escape(label(row, one)),
            *(
                f"<strong>{column.text(row)}</strong>"
                if len(row.bands) == most and column.better * column.value(row) == best.get(column.title)
                else column.text(row)
                for column in columns
            ),
        ]
        for row in one.rows
    ]


def _plot(draw: Callable[[plots.Theme], bytes], alt: str) -> str:
    return (
        f'<picture><source srcset="{data_uri(draw("dark"))}" media="(prefers-color-scheme: dark)">'
        f'<img src="{data_uri(draw("light"))}" alt="{escape(alt)}"></picture>'
    )


def _gains_in_words(one: SetEvaluation) -> str:
    gains = ", ".join(f"{label(row, one)} {row.over_bicubic_db:+.2f}" for row in one.rows)
    return f"PSNR over bicubic interpolation, dB: {gains}"


def _place(sample: Sample, one: SetEvaluation, subject: str, bands: Sequence[str]) -> str:
    names = {"truth": sample.truth, "input": sample.observed, "bicubic": sample.interpolated, subject: sample.upscaled}
    limits = np.percentile(_visible(sample.truth, bands), CLIPPED)
    panels = [
        pixels_of(name, stretch(_visible(image, bands), limits), f"{name} at the {sample.what} place")
        for name, image in names.items()
    ]
    if sample.half_width is not None:
        width = sample.half_width.double().mean(dim=0, keepdim=True).numpy()
        # The widest would leave all else dark.
        top = max(float(np.percentile(width, CLIPPED[1])), 1e-9)
        name = f"half-width, white is {top:.3f} and more"
        panels.append(pixels_of(name, stretch(width, np.array([0.0, top])), f"{name} at the {sample.what} place"))
    where = f"{one.images[sample.image]}, row {sample.top_px}, column {sample.left_px}, {sample.side_px} pixels square"
    return (
        f"<h4>{sample.what.capitalize()}</h4><p>{escape(where)}. Root mean square error in reflectance: bicubic "
        f"{sample.error_interpolated:.4f}, {escape(subject)} {sample.error:.4f}.</p>"
        f'<div class="panels">{"".join(panels)}</div>'
    )


def _visible(image: Tensor, bands: Sequence[str]) -> NDArray[np.float64]:
    """Red, green and blue where they are there, else the first band alone."""
    chosen = [bands.index(band) for band in _COLOURS] if set(_COLOURS) <= set(bands) else [0]
    return image[chosen].double().numpy()
