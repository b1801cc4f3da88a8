"""An evaluation on real images as one HTML page: the table, and places at one stretch."""

from __future__ import annotations

from html import escape

import numpy as np

from geosr.before_after import stretch
from geosr.evaluate.html import document, pixels_of, table
from geosr.evaluate.real.crops import Crop
from geosr.evaluate.real.evaluation import RealEvaluation
from geosr.evaluate.real.table import rows, titles

_INTRO = (
    "No truth is known here. Noise gain is the grain of the product over that of its source on calm ground; what is "
    "left over of another date is the detail of a second, real image that the product does not predict; agreement is "
    "the correlation between visible bands of what is added to interpolation."
)


def page(evaluation: RealEvaluation) -> str:
    """The page's text. It loads nothing."""
    title = f"{evaluation.model} on real images"
    cells = [[escape(cell) for cell in row] for row in rows(evaluation)]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_INTRO)}</p>",
        *(f"<p>{escape(one)}.</p>" for one in evaluation.warnings),
        table(titles(evaluation), cells, "Figures on real images"),
    ]
    if evaluation.crops:
        body += ["<h2>Places</h2>", "<p>The source and all contenders of a place have one stretch.</p>"]
        body += [_place(one) for one in evaluation.crops]
    return document(title, "\n".join(body))


def _place(crop: Crop) -> str:
    limits = np.array(crop.limits)
    scale = next(iter(crop.images.values())).shape[1] // crop.side_px
    panels = {"source": crop.source.repeat(scale, 1).repeat(scale, 2), **crop.images}
    shown = [
        pixels_of(name, stretch(image[::-1], limits), f"{name} at the place of {crop.what}")
        for name, image in panels.items()
    ]
    where = (
        f"Row {crop.top_px}, column {crop.left_px}, {crop.side_px} source pixels square; black is reflectance "
        f"{crop.limits[0]:.4f}, white {crop.limits[1]:.4f}."
    )
    return f'<h4>{crop.what.capitalize()}</h4><p>{escape(where)}</p><div class="panels">{"".join(shown)}</div>'
