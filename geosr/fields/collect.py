"""From images and fields to a table, date by date. It reads top to bottom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import catalog
from catalog import Scene
from catalog.features import Feature, read_features
from geosr.change.dates import SceneReader
from geosr.errors import ExistsError, GeosrError, UsageError
from geosr.fields.half_width import MeanErrors, errors_of_model
from geosr.fields.images import FieldImage, cloud_masked, images_of, open_source
from geosr.fields.measures import Measure, measures_of
from geosr.fields.plots import draw_series
from geosr.fields.statistics import (
    FieldPixels,
    describe,
    is_percentile_name,
    measure_field,
    percentile_name,
    read_field,
    where_measured,
)
from geosr.fields.table import KEYS, RUN, FieldTable
from geosr.progress import QuietReporter, Reporter
from geosr.run.locks import LOCK, lock_folder

#: Counted up when the same input gives other figures: tables of before are then refused.
_FIGURES_VERSION = 2

#: Digits of figures: reflectance is known to a few.
_DIGITS = 6

#: Fields that a note names; the others are counted.
_NAMED = 5

_EXTRA = {"exactextract": "exactextract", "geopandas": "geopandas", "pyarrow": "pyarrow"}


@dataclass(frozen=True)
class FieldsRequest:
    """Images, fields, what to compute, and where to write."""

    sources: tuple[str, ...]
    """Products, folders of them, rasters, ``.SAFE`` products or STAC Items."""
    fields: Path
    output: Path
    measures: tuple[str, ...] = ("ndvi",)
    """Names of indices, expressions of bands, or ``NAME=EXPRESSION``."""
    id_column: str | None = None
    """Column that names the fields; None for their numbers in the file."""
    layer: str | None = None
    where: str | None = None
    percentiles: tuple[float, ...] = (10.0, 90.0)
    remote_sources: bool = False
    """Also read the sources of products from servers, for the figures at the source's pixels."""
    plots: Path | None = None
    """Folder of plots over time."""
    overwrite: bool = False


@dataclass(frozen=True)
class FieldsResult:
    """A table, and what was done for it."""

    table: str
    rows: int
    computed: tuple[str, ...]
    """Images that were computed."""
    skipped: tuple[str, ...]
    """Images whose rows were there already."""
    plots: int
    notes: tuple[str, ...]


def collect_fields(request: FieldsRequest, reporter: Reporter | None = None) -> FieldsResult:
    """Compute the statistics of fields on each image and append them to a table.

    The table is replaced in one step after each image. Rows that are there already are not computed again.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    reporter = reporter or QuietReporter()
    _check_extra()
    measures = measures_of(list(request.measures))
    for one in request.percentiles:
        if not 0 <= one <= 100:
            raise UsageError(f"--percentiles are 0 to 100, not {one:g}")
    _check_apart(request)
    fields = read_features(request.fields, request.id_column, request.layer, request.where)
    table = FieldTable.of(request.output, fields)
    bands = sorted({band for measure in measures for band in measure.bands})
    images = images_of(request.sources, bands)
    output = request.output.absolute()
    locked = output.with_name(f".{output.name}.geosr")
    lock = lock_folder(locked, output)
    try:
        result = _collect(request, reporter, fields, table, images, measures)
    finally:
        with suppress(OSError):
            (locked / LOCK).unlink()
            locked.rmdir()
        lock.release()
    reporter.end()
    return result


def _collect(
    request: FieldsRequest,
    reporter: Reporter,
    fields: Sequence[Feature],
    table: FieldTable,
    images: Sequence[FieldImage],
    measures: Sequence[Measure],
) -> FieldsResult:
    rows = pd.DataFrame() if request.overwrite else table.read()
    settings = _settings_of(request, fields, measures)
    runs = [_run_of(image, settings) for image in images]
    if not rows.empty:
        _check_rows(rows, images, runs, table.path)
        _check_columns(rows, fields, request)
    there = set() if rows.empty else set(rows[RUN])
    notes: list[str] = []
    computed, skipped = [], []
    for number, (image, run) in enumerate(zip(images, runs, strict=True), start=1):
        if run in there:
            skipped.append(image.name)
            continue
        reporter.note(f"image {number} of {len(images)}: {image.name}, {image.time:%Y-%m-%d %H:%M} UTC")
        made = _rows_of(image, fields, measures, request, notes)
        if not made:
            notes.append(f"no field lies on {image.name}")
            continue
        computed.append(image.name)
        rows = _joined(rows, pd.DataFrame(made).assign(**{RUN: run}), [field.id for field in fields])
        table.write(rows)
    if rows.empty:
        raise UsageError(f"no field of {request.fields} lies on an image: see the notes on their places, geosr info")
    notes.extend(_unseen_note(rows, fields))
    plots = 0 if request.plots is None else draw_series(rows, request.plots, fresh=bool(computed))
    return FieldsResult(str(table.path), len(rows), tuple(computed), tuple(skipped), plots, tuple(dict.fromkeys(notes)))


def _unseen_note(rows: pd.DataFrame, fields: Sequence[Feature]) -> list[str]:
    """Note of the fields that have no row, for no image shows them."""
    seen = set(map(str, rows["field"]))
    unseen = [str(field.id) for field in fields if str(field.id) not in seen]
    if not unseen:
        return []
    more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
    return [f"{len(unseen)} of {len(fields)} fields lie on no image: {', '.join(unseen[:_NAMED])}{more}"]


def _check_extra() -> None:
    missing = [package for module, package in _EXTRA.items() if find_spec(module) is None]
    if missing:
        raise GeosrError(f"fields needs {' and '.join(missing)}: python -m pip install 'geosr[fields]'")


def _check_apart(request: FieldsRequest) -> None:
    for source in (*request.sources, str(request.fields)) if request.output.exists() else ():
        if "://" not in source and Path(source).exists() and request.output.samefile(source):
            raise UsageError(f"{request.output} is a source: write to another file")
    if request.plots is not None and request.plots.exists() and not request.plots.is_dir():
        raise UsageError(f"--plots {request.plots} is a file: name a folder")


def _settings_of(request: FieldsRequest, fields: Sequence[Feature], measures: Sequence[Measure]) -> dict[str, Any]:
    """All that determines the rows of an image, but the image."""
    places = hashlib.sha256()
    for field in fields:
        places.update(repr(field.id).encode() + field.polygon.wkb)
    return {
        "version": _FIGURES_VERSION,
        "fields": places.hexdigest(),
        "measures": [[one.name, one.expression] for one in measures],
        "percentiles": list(request.percentiles),
        "remote_sources": request.remote_sources,
    }


def _run_of(image: FieldImage, settings: dict[str, Any]) -> str:
    text = json.dumps({**settings, "image": image.identity}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_rows(rows: pd.DataFrame, images: Sequence[FieldImage], runs: Sequence[str], path: Path) -> None:
    """Refuse rows of an image that were made of other fields, measures or pixels."""
    for image, run in zip(images, runs, strict=True):
        own = rows[(rows["product"] == image.name) & (rows["time"] == pd.Timestamp(image.time))]
        if not own.empty and set(own[RUN]) != {run}:
            raise ExistsError(
                f"{path} has rows of {image.name} for other fields, measures or pixels: write another table, or "
                "--overwrite"
            )


def _check_columns(rows: pd.DataFrame, fields: Sequence[Feature], request: FieldsRequest) -> None:
    """Refuse a table with other percentiles, and one with fields whose places are not known."""
    others = set(rows["field"]) - {field.id for field in fields}
    wanted = {percentile_name(one) for one in request.percentiles}
    if others:
        differ = f"of fields that are not in {request.fields}, as {sorted(map(str, others))[0]}"
    elif {name for name in rows.columns if is_percentile_name(name)} != wanted:
        differ = "with other percentiles"
    else:
        return
    raise ExistsError(f"{request.output} has rows {differ}: write another table, or --overwrite")


def _rows_of(
    image: FieldImage,
    fields: Sequence[Feature],
    measures: Sequence[Measure],
    request: FieldsRequest,
    notes: list[str],
) -> list[dict[str, Any]]:
    """Rows of one image, field by field."""
    bands = sorted({band for measure in measures for band in measure.bands})
    errors = _errors_of(image, measures, notes)
    source = _source_of(image, bands, request, notes)
    masked = None if source is None else cloud_masked(source, bands)
    side_m = image.gsd_m
    sides = catalog.pixel_sides_m(image.scene.geobox)
    hectares = None if sides is None else sides[0] * sides[1] / 10_000
    rows: list[dict[str, Any]] = []
    for field in fields:
        pixels = read_field(image, field, bands, half_widths=errors is not None)
        if pixels is None:
            continue
        at_source = None
        if source is not None:
            at_source = pixels if source is image else read_field(source, field, bands)
        shares = {
            "nodata_share": 1 - min(1.0, pixels.measured_share),
            "cloud_share": None if at_source is None or masked is None else _cloud_share(masked, at_source, bands),
            "measured_fraction": _measured_fraction(image, pixels),
        }
        # The figures at both pixels are of one part of the field.
        coarse = None
        if at_source is not None and source is not None and source is not image:
            coarse = where_measured(at_source, source, pixels, image)
        for measure in measures:
            found = measure_field(pixels, measure, request.percentiles, errors)
            found_coarse = {} if coarse is None else measure_field(coarse, measure, (), None)
            rows.append(
                {
                    **dict(zip(KEYS, (field.id, image.time, image.name, measure.name), strict=True)),
                    **{name: found[name] for name in ("mean", "half_width", "median", "std")},
                    **{name: found[name] for name in map(percentile_name, request.percentiles)},
                    "count": found["count"],
                    "area_ha": None if hectares is None else (found["count"] or 0.0) * hectares,
                    **shares,
                    "pixel_m": side_m,
                    **{f"source_{name}": found_coarse.get(name) for name in ("mean", "std", "count")},
                    "source_pixel_m": source.gsd_m if coarse is not None and source is not None else None,
                }
            )
    return rows


def _errors_of(image: FieldImage, measures: Sequence[Measure], notes: list[str]) -> MeanErrors | None:
    """Calibration of the half-widths of means; None, with a note, where there is none."""
    if image.product is None:
        return None
    if image.half_widths(measures[0].bands) is None:
        notes.append("means have no half-widths without those of pixels: make the products with --uncertainty")
        return None
    errors = errors_of_model(image.weights)
    if errors is None:
        notes.append(f"means have no half-widths: they are not calibrated for model {image.model}")
    return errors


def _source_of(image: FieldImage, bands: Sequence[str], request: FieldsRequest, notes: list[str]) -> FieldImage | None:
    """Source that the 10 m figures come from: of a product that which it names, else the image."""
    if image.product is None:
        return image
    source = open_source(image, bands, remote=request.remote_sources)
    if isinstance(source, FieldImage):
        return source
    notes.append(f"{image.name} has no figures at its source's pixels: {source}")
    return None


def _cloud_share(masked: Scene, pixels: FieldPixels, bands: Sequence[str]) -> float:
    """Share of a field under clouds and shadows of the source's classification."""
    clear = SceneReader(masked, tuple(bands)).read(pixels.cover.window)[1]
    return float(pixels.cover.weights[pixels.measured & ~clear].sum()) / pixels.cover.pixels


def _measured_fraction(image: FieldImage, pixels: FieldPixels) -> float | None:
    """Mean measured share of the local detail of a field; None without the layer."""
    share = image.measured_fraction(pixels.cover.window)
    if share is None:
        return None
    used = np.isfinite(share) & (pixels.cover.weights > 0)
    return describe(share[used], pixels.cover.weights[used], ())["mean"] if used.any() else None


def _joined(rows: pd.DataFrame, more: pd.DataFrame, order: Sequence[str | int]) -> pd.DataFrame:
    """Rows of more dates, in the order of fields, measures and times."""
    more["time"] = pd.to_datetime(more["time"], utc=True).astype("datetime64[us, UTC]")
    numbers = [name for name in more.columns if name not in (*KEYS, RUN)]
    more[numbers] = more[numbers].astype("float64").round(_DIGITS)
    joined = more if rows.empty else pd.concat([rows[more.columns], more], ignore_index=True)
    place = {name: i for i, name in enumerate(order)}
    ordered = joined.assign(_place=joined["field"].map(place)).sort_values(
        ["_place", "measure", "time", "product"], kind="stable"
    )
    return ordered.drop(columns="_place").reset_index(drop=True)
