"""Index of a field on one date, with the half-width of its mean, from live chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from starlette.concurrency import run_in_threadpool

import catalog
from catalog.area import window_of
from catalog.features import Feature
from geosr.fields.coverage import cover
from geosr.fields.half_width import MeanErrors, errors_of_model
from geosr.fields.measures import Measure, measure_of
from geosr.fields.statistics import FieldPixels, measure_field
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem
from geosr.service.tiles.live_chunks import ChunkKey, LiveChunk
from geosr.service.tiles.live_tiles import Tiles
from tiling import crop

#: Chunks of a field at most: each with half-widths takes about a second.
_MOST_CHUNKS = 9

_DIGITS = 5


async def field_values(tiles: Tiles, live: LiveScene, field: Feature, index: str) -> dict[str, Any]:
    """Statistics of an index over a field, at the product's pixels and at the source's.

    Raises :class:`Problem` for a field that the scene does not meet, or that is large.
    """
    measure = measure_of(index)
    missing = [band for band in measure.bands if band not in live.scene.names]
    if missing:
        raise Problem(404, f"index: {live.title} has no {' and no '.join(missing)}, which {index} needs")
    window = await run_in_threadpool(window_of, field.polygon, live.scene.geobox, f"scene {live.id}")
    keys = tiles.chunks.keys_of(live, window, uncertainty=live.calibrated)
    if len(keys) > _MOST_CHUNKS:
        raise Problem(404, f"field {field.id} is large: order the product of its box, and use geosr fields on that")
    chunks = await tiles.computed(live, keys)
    return await run_in_threadpool(_measured, tiles, live, field, measure, window, chunks)


def _measured(
    tiles: Tiles,
    live: LiveScene,
    field: Feature,
    measure: Measure,
    window: Window,
    chunks: dict[ChunkKey, LiveChunk],
) -> dict[str, Any]:
    errors = errors_of_model(live.model.card.weights_sha256 or "") if live.calibrated else None
    fine = _fine_pixels(tiles, live, field, measure, window, chunks, errors)
    dn, valid = live.read(window)
    grid = crop(live.scene.geobox, window)
    covered = cover(field.polygon, grid, str(field.id))
    if fine is None or covered is None:
        raise Problem(404, f"field {field.id} has no pixel of the scene")
    source = FieldPixels(covered, *_bands(live, measure, live.reflectance(dn), valid), {}, valid[0])
    found = measure_field(fine, measure, (), errors)
    at_source = measure_field(source, measure, (), None)
    sides = catalog.pixel_sides_m(grid)
    scale = live.upscaler.scale
    hectares = None if sides is None else (found["count"] or 0.0) * sides[0] * sides[1] / scale**2 / 10_000
    return {
        "scene": live.id,
        "datetime": None if live.scene.datetime is None else live.scene.datetime.isoformat(),
        "index": measure.name,
        **{name: _rounded(found[name]) for name in ("mean", "half_width", "median", "std")},
        "level": errors.level if errors is not None and found["half_width"] is not None else None,
        "area_ha": _rounded(hectares),
        "nodata_share": _rounded(1 - min(1.0, fine.measured_share)),
        "source_mean": _rounded(at_source["mean"]),
    }


def _fine_pixels(
    tiles: Tiles,
    live: LiveScene,
    field: Feature,
    measure: Measure,
    window: Window,
    chunks: dict[ChunkKey, LiveChunk],
    errors: MeanErrors | None,
) -> FieldPixels | None:
    """Pixels of a field at high resolution; None where it has none."""
    patch = tiles.chunks.assemble(live, window, chunks, half_width=False)
    covered = cover(field.polygon, patch.geobox, str(field.id))
    if covered is None:
        return None
    inner = covered.window.toslices()
    pixels, valid = patch.pixels[:, *inner], patch.valid[:, *inner]
    bands, measured = _bands(live, measure, live.reflectance(pixels), valid)
    if errors is None:
        return FieldPixels(covered, bands, measured, {}, measured)
    widths = tiles.chunks.assemble(live, window, chunks, half_width=True)
    scales = np.array([abs(band.scale) for band in live.scene.bands], np.float32).reshape(-1, 1, 1)
    half_widths, known = _bands(live, measure, widths.pixels[:, *inner] * scales, widths.valid[:, *inner])
    return FieldPixels(covered, bands, measured, half_widths, known)


def _bands(
    live: LiveScene, measure: Measure, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Values of a measure's bands, and the pixels where all of them are there."""
    places = [live.scene.names.index(band) for band in measure.bands]
    there: NDArray[np.bool_] = np.logical_and.reduce(valid[places], axis=0)
    return {band: values[place] for band, place in zip(measure.bands, places, strict=True)}, there


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), _DIGITS)
