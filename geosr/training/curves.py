"""Pictures of a run: the course of its loss and of its gains, and what it makes of held-out imagery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from geosr.training.config import TrainingConfig
from geosr.training.run_folder import RunFolder
from geosr.training.validation import Validation

#: Side of the part of each held-out image that is shown, HR pixels.
_SHOWN_PX = 192

_GAP_PX = 4

#: Figures of a perceptual stage, as they are called in the picture.
_TERMS = {
    "pixel": "pixel",
    "adversarial": "adversarial",
    "perceptual": "perceptual",
    "feature_matching": "feature matching",
    "grid": "grid",
    "discriminator": "discriminator",
}
_SCORES = {"real": "real images", "fake": "made images"}


def draw(run: RunFolder, config: TrainingConfig, validation: Validation) -> None:
    """Write ``curves.png`` and ``samples.png`` into the run's folder."""
    _draw_curves(run.figures(), run.path / "curves.png")
    if validation.samples:
        _draw_samples(validation, config, run.path / "samples.png")


def _draw_curves(figures: list[dict[str, float]], path: Path) -> None:
    # Takes a second to load: not before it is needed.
    from matplotlib.figure import Figure

    against = [line for line in figures if "discriminator" in line]
    figure = Figure(figsize=(12, 8 if against else 4), layout="constrained")
    (losses, gains), *below = figure.subplots(2 if against else 1, 2, squeeze=False)
    logged = [line for line in figures if "loss" in line]
    losses.plot([line["step"] for line in logged], [line["loss"] for line in logged], linewidth=0.8)
    losses.set(xlabel="step", ylabel="loss", title="training loss, mean of up to 50 steps")
    if logged:
        losses.set_ylim(*np.percentile([line["loss"] for line in logged], (0, 98)) * (0.98, 1.05))
    validated = [line for line in figures if any("/" in key for key in line)]
    for name in sorted({key for line in validated for key in line if "/" in key}):
        points = [(line["step"], line[name]) for line in validated if name in line]
        gains.plot(*zip(*points, strict=True), marker=".", label=name)
    gains.set(xlabel="step", ylabel="dB over bicubic", title="held-out imagery")
    if validated:
        # Curves that have levelled off leave no place for it among them.
        gains.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    for axes in (losses, gains):
        axes.locator_params(axis="x", nbins=6)
    for terms, scores in below:
        _draw_adversary(against, terms, scores)
    figure.savefig(path, dpi=110)


def _draw_adversary(figures: list[dict[str, float]], terms: Any, scores: Any) -> None:
    """The losses of both sides of a perceptual stage, and how real the discriminator took real and made images for."""
    for axes, names in ((terms, _TERMS), (scores, _SCORES)):
        for name, label in names.items():
            points = [(line["step"], line[name]) for line in figures if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), linewidth=0.8, label=label)
        axes.legend(fontsize="x-small")
    terms.set(xlabel="step", ylabel="loss, before its weight", title="losses of generator and discriminator")
    scores.set(xlabel="step", ylabel="probability of being real", title="what the discriminator says", ylim=(0, 1))


def _draw_samples(validation: Validation, config: TrainingConfig, path: Path) -> None:
    """A row per set: bicubic, model, truth, in natural colours and one stretch."""
    colours = [config.bands.index(band) for band in ("B04", "B03", "B02") if band in config.bands] or [0, 0, 0]
    rows = []
    for images in validation.samples.values():
        shown = [_corner(image, colours if len(colours) == 3 else [0, 0, 0]) for image in images]
        low, high = np.percentile(shown[-1], (1, 99))
        rows.append([np.clip((image - low) / max(high - low, 1e-6), 0, 1) ** (1 / 1.8) for image in shown])
    cell = max(image.shape[0] for row in rows for image in row)
    sheet = np.ones((len(rows) * (cell + _GAP_PX), 3 * (cell + _GAP_PX), 3))
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (cell + _GAP_PX), c * (cell + _GAP_PX)
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    Image.fromarray(np.rint(sheet * 255).astype(np.uint8)).save(path)


def _corner(image: Tensor, colours: list[int]) -> NDArray[Any]:
    corner: NDArray[Any] = image[colours, :_SHOWN_PX, :_SHOWN_PX].permute(1, 2, 0).numpy()
    return corner
