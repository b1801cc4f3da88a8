"""One image of an array, upscaled chunk by chunk: at once where it is in memory, on demand where it is lazy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from catalog.arrays import unlike_any
from catalog.plausibility import check_reflectance
from catalog.spelling import PYTHON
from geosr.inference.scene_calibration import calibrate, calibration_windows
from geosr.inference.upscaled_window import SceneUncertainty
from geosr.inference.upscaler import ModelSpec, upscaler_of
from geosr.model.card import Calibration
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
    calibrated = _calibrated(image, plan, spec) if uncertainty else None
    if not isinstance(image, dask.array.Array):
        arrays = tuple(np.empty((count, *plan.geobox.shape), dtype=dtype) for count, dtype in forms)
        for chunk in plan:
            part, reflection = _part(image, plan, chunk, spec)
            rows, cols = chunk.out.toslices()
            for array, piece in zip(arrays, _upscale_window(part, calibrated, reflection, spec), strict=True):
                array[:, rows, cols] = piece
        return arrays
    tasks = []
    for chunk in plan:
        part, reflection = _part(image, plan, chunk, spec)
        compute = partial(_upscale_window, reflection=reflection, spec=spec)
        tasks.append(delayed(compute, pure=True, nout=len(forms))(part, calibrated))
    return tuple(joined([task[i] for task in tasks], plan, *form) for i, form in enumerate(forms))


def joined(tasks: Sequence[Any], plan: ChunkPlan, bands: int, dtype: np.dtype[Any]) -> Any:
    """Delayed results of a plan's chunks, in its order, as one lazy array ``(bands, rows, cols)``."""
    blocks: list[list[Any]] = [[] for _ in range(plan.rows)]
    for number, (chunk, task) in enumerate(zip(plan, tasks, strict=True)):
        shape = (bands, chunk.out.height, chunk.out.width)
        blocks[number // plan.cols].append(dask.array.from_delayed(task, shape, dtype=dtype))  # type: ignore[no-untyped-call]
    return dask.array.block(blocks)  # type: ignore[no-untyped-call]


def _part(image: Any, plan: ChunkPlan, chunk: Chunk, spec: ModelSpec) -> tuple[Any, Reflection]:
    reflection = reflect(grow(chunk.core, spec.card.margin_px), plan.extent.shape)
    rows, cols = reflection.inside.toslices()
    return image[:, rows, cols], reflection


def _calibrated(image: Any, plan: ChunkPlan, spec: ModelSpec) -> Any:
    """Calibration of the image's half-widths on itself; on demand where the image is lazy."""
    calibration = spec.card.calibration
    assert calibration is not None
    squares = [window.toslices() for window in calibration_windows(plan.area, plan.scale, calibration)]
    parts = [image[:, rows, cols] for rows, cols in squares]
    compute = partial(_calibrate, spec=spec, calibration=calibration)
    return delayed(compute, pure=True)(parts) if isinstance(image, dask.array.Array) else compute(parts)


def _calibrate(parts: list[NDArray[Any]], spec: ModelSpec, calibration: Calibration) -> SceneUncertainty:
    return calibrate(((part, _validity(part, spec)) for part in parts), upscaler_of(spec), calibration)


def _upscale_window(
    part: NDArray[Any], uncertainty: SceneUncertainty | None, reflection: Reflection, spec: ModelSpec
) -> tuple[NDArray[Any], ...]:
    """One chunk from the pixels that exist around it."""
    valid = _validity(part, spec)
    check_reflectance(
        [(dn.ravel(), known.ravel()) for dn, known in zip(part, valid, strict=True)], spec.bands, "the array", PYTHON
    )
    pixels = reflection(part)
    result = upscaler_of(spec)(pixels, reflection(valid), uncertainty=uncertainty)
    image = _with_nan(result.image, pixels, spec)
    if result.uncertainty is None:
        return (image,)
    return image, result.uncertainty.half_width_dn, result.uncertainty.measured_fraction


def _validity(part: NDArray[Any], spec: ModelSpec) -> NDArray[np.bool_]:
    return unlike_any(part, [band.unmeasured for band in spec.bands])


def _with_nan(high: NDArray[Any], pixels: NDArray[Any], spec: ModelSpec) -> NDArray[Any]:
    """The result with NaN under NaN, also where floats declare another nodata value."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return high
    # Of the upscaler that this process has: a task's own card would be read once more.
    upscaler = upscaler_of(spec)
    margin, (rows, cols) = upscaler.margin_px, (size // upscaler.scale for size in high.shape[1:])
    missing = np.isnan(pixels[:, margin : margin + rows, margin : margin + cols])
    high[missing.repeat(upscaler.scale, axis=1).repeat(upscaler.scale, axis=2)] = np.nan
    return high
