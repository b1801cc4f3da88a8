"""One image of an array, upscaled chunk by chunk: at once where it is in memory, on demand where it is lazy."""

from __future__ import annotations

from functools import partial
from typing import Any

import dask.array
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from catalog.arrays import unlike_any
from catalog.plausibility import PYTHON, check_reflectance
from geosr.inference.scene_calibration import calibration_windows, measure_factors
from geosr.inference.upscaler import ModelSpec, upscaler_of
from geosr.model.card import Calibration
from geosr.model.zoo import read_card
from tiling import Chunk, ChunkPlan, Reflection, grow, reflect


def upscale_image(image: Any, plan: ChunkPlan, spec: ModelSpec, *, uncertainty: bool = False) -> tuple[Any, ...]:
    """Upscale ``(bands, rows, cols)``, NumPy or dask.

    Returns the image, and with ``uncertainty`` its half-widths (float32) and the measured fraction,
    ``(1, rows, cols)`` (uint8).
    """
    bands = len(spec.bands)
    forms = [(bands, image.dtype)]
    if uncertainty:
        forms += [(bands, np.dtype(np.float32)), (1, np.dtype(np.uint8))]
    factors = _width_factors(image, plan, spec) if uncertainty else ()
    if not isinstance(image, dask.array.Array):
        arrays = tuple(np.empty((count, *plan.geobox.shape), dtype=dtype) for count, dtype in forms)
        for chunk in plan:
            part, reflection = _part(image, plan, chunk, spec)
            rows, cols = chunk.out.toslices()
            for array, piece in zip(arrays, _upscale_window(part, factors, reflection, spec, uncertainty), strict=True):
                array[:, rows, cols] = piece
        return arrays
    tasks = []
    for chunk in plan:
        part, reflection = _part(image, plan, chunk, spec)
        compute = partial(_upscale_window, reflection=reflection, spec=spec, uncertainty=uncertainty)
        tasks.append((chunk, delayed(compute, pure=True, nout=len(forms))(part, factors)))
    return tuple(_joined(tasks, i, plan, count, dtype) for i, (count, dtype) in enumerate(forms))


def _joined(tasks: list[tuple[Chunk, Any]], i: int, plan: ChunkPlan, bands: int, dtype: np.dtype[Any]) -> Any:
    """What the tasks return in place ``i``, as one lazy array."""
    blocks: list[list[Any]] = [[] for _ in range(plan.rows)]
    for number, (chunk, task) in enumerate(tasks):
        shape = (bands, chunk.out.height, chunk.out.width)
        blocks[number // plan.cols].append(dask.array.from_delayed(task[i], shape, dtype=dtype))  # type: ignore[no-untyped-call]
    return dask.array.block(blocks)  # type: ignore[no-untyped-call]


def _part(image: Any, plan: ChunkPlan, chunk: Chunk, spec: ModelSpec) -> tuple[Any, Reflection]:
    reflection = reflect(grow(chunk.core, read_card(spec.model, spec.sharpness).halo_px * 2), plan.extent.shape)
    rows, cols = reflection.inside.toslices()
    return image[:, rows, cols], reflection


def _width_factors(image: Any, plan: ChunkPlan, spec: ModelSpec) -> Any:
    """What the image's half-widths are multiplied by; on demand where the image is lazy."""
    card = read_card(spec.model, spec.sharpness)
    assert card.calibration is not None
    squares = [window.toslices() for window in calibration_windows(plan.area, card.scale, card.calibration)]
    parts = [image[:, rows, cols] for rows, cols in squares]
    compute = partial(_factors_of, spec=spec, calibration=card.calibration)
    return delayed(compute, pure=True)(parts) if isinstance(image, dask.array.Array) else compute(parts)


def _factors_of(parts: list[NDArray[Any]], spec: ModelSpec, calibration: Calibration) -> tuple[float, ...]:
    return measure_factors(((part, _validity(part, spec)) for part in parts), upscaler_of(spec), calibration)


def _upscale_window(
    part: NDArray[Any], factors: tuple[float, ...], reflection: Reflection, spec: ModelSpec, uncertainty: bool
) -> tuple[NDArray[Any], ...]:
    """One chunk from the pixels that exist around it."""
    valid = _validity(part, spec)
    check_reflectance(
        [(dn.ravel(), known.ravel()) for dn, known in zip(part, valid, strict=True)], spec.bands, "the array", PYTHON
    )
    pixels = reflection(part)
    result = upscaler_of(spec)(pixels, reflection(valid), uncertainty=uncertainty, width_factors=factors)
    image = _with_nan(result.image, pixels, spec)
    if result.uncertainty is None:
        return (image,)
    return image, result.uncertainty.half_width_dn, result.uncertainty.measured_fraction


def _validity(part: NDArray[Any], spec: ModelSpec) -> NDArray[np.bool_]:
    nodata = [(() if band.nodata is None else (band.nodata,)) + band.also_nodata for band in spec.bands]
    return unlike_any(part, nodata)


def _with_nan(high: NDArray[Any], pixels: NDArray[Any], spec: ModelSpec) -> NDArray[Any]:
    """The result with NaN under NaN, also where floats declare another nodata value."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return high
    card = read_card(spec.model, spec.sharpness)
    margin, (rows, cols) = 2 * card.halo_px, (size // card.scale for size in high.shape[1:])
    missing = np.isnan(pixels[:, margin : margin + rows, margin : margin + cols])
    high[missing.repeat(card.scale, axis=1).repeat(card.scale, axis=2)] = np.nan
    return high
