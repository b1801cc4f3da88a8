"""Statistics of one field on one image, weighted by the covered share of each pixel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform

from catalog.features import Feature
from geosr.fields.coverage import Cover, cover
from geosr.fields.half_width import MeanErrors
from geosr.fields.images import FieldImage
from geosr.fields.measures import Measure


@dataclass(frozen=True)
class FieldPixels:
    """Pixels of one field."""

    cover: Cover
    bands: dict[str, NDArray[np.float32]]
    measured: NDArray[np.bool_]
    half_widths: dict[str, NDArray[np.float32]]
    """Half-widths of the bands; empty where they were not read."""
    known: NDArray[np.bool_]
    """Pixels that have half-widths."""

    @property
    def measured_share(self) -> float:
        """Share of the field's area with a measurement, 0 to 1."""
        return float(self.cover.weights[self.measured].sum()) / self.cover.pixels


def read_field(
    image: FieldImage, field: Feature, bands: Sequence[str], *, half_widths: bool = False
) -> FieldPixels | None:
    """Read the pixels of a field; None where the image does not meet it."""
    covered = cover(field.polygon, image.scene.geobox, str(field.id))
    if covered is None:
        return None
    reflectance, measured = image.read(bands, covered.window)
    widths, known = {}, measured
    reader = image.half_widths(bands) if half_widths else None
    if reader is not None:
        read, known = reader.read(covered.window)
        widths = dict(zip(bands, read, strict=True))
    return FieldPixels(covered, dict(zip(bands, reflectance, strict=True)), measured, widths, known)


def where_measured(pixels: FieldPixels, image: FieldImage, others: FieldPixels, other_image: FieldImage) -> FieldPixels:
    """Pixels of a field on one image without those in whose middle another image has no measurement."""
    window, other = pixels.cover.window, others.cover.window
    grid, other_grid = image.scene.geobox, other_image.scene.geobox
    cols, rows = np.meshgrid(
        np.arange(window.width) + window.col_off + 0.5, np.arange(window.height) + window.row_off + 0.5
    )
    place: Any = grid.affine * (cols.ravel(), rows.ravel())
    if grid.crs != other_grid.crs:
        place = tuple(map(np.asarray, transform(grid.crs, other_grid.crs, *place)))
    col, row = (np.floor(one).astype(int) for one in ~other_grid.affine * place)
    inside = (row >= 0) & (row < other_grid.shape.y) & (col >= 0) & (col < other_grid.shape.x)
    # The middle of a pixel at the outline may lie beside the other image's window, which ends there.
    near = (
        np.clip(row - other.row_off, 0, other.height - 1),
        np.clip(col - other.col_off, 0, other.width - 1),
    )
    kept = (inside & others.measured[near]).reshape(pixels.measured.shape)
    return replace(pixels, measured=pixels.measured & kept)


def describe(
    values: NDArray[np.float32], weights: NDArray[np.float32], percentiles: Sequence[float]
) -> dict[str, float]:
    """Mean, deviation, percentiles and count of values, 1-D and finite, by their weights.

    The count is the sum of the weights, in pixels. A percentile is the value below which its share of the weight lies,
    between values by straight lines through the middles of their weights.
    """
    total = float(weights.sum(dtype=np.float64))
    mean = float((values * weights).sum(dtype=np.float64)) / total
    variance = float((weights * (values - np.float32(mean)) ** 2).sum(dtype=np.float64)) / total
    order = np.argsort(values)
    middles = (np.cumsum(weights[order], dtype=np.float64) - weights[order] / 2) / total
    at = np.interp([0.5, *(one / 100 for one in percentiles)], middles, values[order])
    return {
        "mean": mean,
        "median": float(at[0]),
        "std": float(np.sqrt(variance)),
        **{percentile_name(one): float(value) for one, value in zip(percentiles, at[1:], strict=True)},
        "count": total,
    }


def percentile_name(percentile: float) -> str:
    """Name of a percentile's column: ``p10``, ``p2_5``."""
    return "p" + f"{percentile:g}".replace(".", "_")


def is_percentile_name(column: str) -> bool:
    """Tell a percentile's column by its name."""
    return re.fullmatch(r"p\d[\d_]*", column) is not None


def measure_field(
    pixels: FieldPixels, measure: Measure, percentiles: Sequence[float], errors: MeanErrors | None
) -> dict[str, float | None]:
    """Statistics of a measure over a field; None each where nothing is measured."""
    values = measure.of(pixels.bands)
    weights = np.where(pixels.measured & np.isfinite(values), pixels.cover.weights, 0)
    used = weights > 0
    if not used.any():
        names = ["mean", "half_width", "median", "std", *map(percentile_name, percentiles)]
        return {**dict.fromkeys(names), "count": 0.0}
    found: dict[str, float | None] = {**describe(values[used], weights[used], percentiles)}
    found["half_width"] = None if errors is None else _half_width(pixels, measure, weights, errors)
    return found


def _half_width(
    pixels: FieldPixels, measure: Measure, weights: NDArray[np.float32], errors: MeanErrors
) -> float | None:
    """Half-width of a mean, from those of its pixels."""
    if not pixels.half_widths:
        return None
    of_measure = measure.half_width(pixels.bands, pixels.half_widths)
    weights = np.where(pixels.known & np.isfinite(of_measure), weights, 0)
    return errors.half_width_of_mean(measure, np.nan_to_num(of_measure), weights) if weights.any() else None
