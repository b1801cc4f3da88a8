"""Several dates of an array to one image: ``geosr.fuse(da, reference="2023-07-13")``."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

import dask
import dask.array
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from catalog import SourceError
from catalog.arrays import unlike_any
from catalog.fills import LOWEST, fill_text, fills_in
from catalog.spelling import PYTHON
from geosr.arrays.bands import GivenRadiometry, StoredBands, band_names
from geosr.arrays.chunks import joined
from geosr.arrays.grid import grid_of
from geosr.arrays.method import served
from geosr.arrays.options import UpscaleOptions
from geosr.arrays.upscale import upscale
from geosr.dates.fuse import MARGIN_PX, WindowFuser
from geosr.dates.survey import DateFit, Survey, tile_windows
from geosr.errors import UsageError
from geosr.model.zoo import DEFAULT_MODEL, ModelRef
from tiling import Chunk, ChunkPlan, grow, reflect, whole

#: Side of a chunk by default, pixels of the source: with margins of the dates around, small ones cost more.
_CORE_PX = 512


def fuse(
    data: xr.DataArray, reference: Any, model: str = DEFAULT_MODEL, **options: Unpack[UpscaleOptions]
) -> xr.DataArray:
    """Super-resolve one date of an array, sharpened by what its other dates really show.

    The result is what :func:`geosr.upscale` makes of the reference, corrected through the sensor's model by dates that
    lie a fraction of a pixel beside it. Dates are registered to the reference, brought to its radiometry, and left out
    where clouds, shadow or change hide its ground. Where no other date is usable the result is that of one date, to
    the number.

    Parameters
    ----------
    data
        ``(time, band, y, x)``, all dates on one grid. On a dask-backed array, the tiles that dates are registered by
        are read at once, everything else when the result is computed.
    reference
        The date whose product is made: a label of the first dimension, for dates also text as ``"2023-07-13"``.
    model, **options
        As of :func:`geosr.upscale`. ``core_px`` is 512 by default.

    Returns
    -------
    xarray.DataArray
        The reference's image on the finer grid. Its attribute ``GEOSR_DATES`` says which dates took part, with what
        shift and weight, and why others did not.

    Raises
    ------
    geosr.errors.UsageError
        The array has no dimension for dates, the reference is none of them or several, or the model serves bands of
        several sampling distances.
    geosr.errors.ModelError, catalog.CatalogError
        As of :func:`geosr.upscale`.

    """
    if not isinstance(data, xr.DataArray) or data.ndim != 4:
        raise UsageError("fuse takes one DataArray of several dates, (time, band, y, x): stack them along a dimension")
    if "uncertainty" in options:
        raise UsageError("there are no half-widths for several dates: leave uncertainty out, or upscale one date")
    card = ModelRef(model, options.get("sharpness", 0.0)).card
    if card.stack is not None:
        raise UsageError(f"model {model} serves bands of several sampling distances: dates are fused for one")
    options.setdefault("core_px", _CORE_PX)
    times = str(data.dims[0])
    chosen_date = _index(data, times, reference)
    first = data.isel({times: chosen_date})
    order = [chosen_date, *(i for i in range(data.sizes[times]) if i != chosen_date)]
    single = upscale(first, model, **options)
    radiometry = GivenRadiometry(options.get("scale"), options.get("offset"), options.get("nodata"))
    specs = radiometry.specs(first, band_names(first, first, options.get("bands")))
    chosen = served(card, [band.name for band in specs])
    stored = StoredBands.of(first, [specs[i] for i in chosen], radiometry.nodata)
    fuser = WindowFuser(card, stored.specs)
    images = data.isel({times: order, data.dims[1]: chosen}).data

    survey = _survey(images, fuser, _days_apart(data, times, order))
    result = single.copy(data=single.data)
    result.attrs["GEOSR_DATES"] = describe([_label(data, times, i) for i in order], survey)
    if not survey.used:
        return result
    geobox = grid_of(first)
    plan = ChunkPlan(geobox, whole(geobox), card.scale, options["core_px"], card.halo_px)
    return result.copy(data=stored.fit(_fused(single.data, images, plan, fuser, survey)))


def describe(labels: list[str], survey: Survey) -> str:
    """Say which dates took part, the reference first."""
    parts = [f"{labels[0]}: reference"]
    for label, date in zip(labels[1:], survey.dates, strict=True):
        if isinstance(date, DateFit):
            down, across = date.shift_px
            parts.append(f"{label}: shift {down:+.2f} {across:+.2f} px, weight {np.mean(date.weight):.3g}")
        else:
            parts.append(f"{label}: not used, {date.reason}")
    return "; ".join(parts)


def _index(data: xr.DataArray, times: str, reference: Any) -> int:
    """The number of the date that is meant."""
    if times not in data.coords:
        if isinstance(reference, int) and -data.sizes[times] <= reference < data.sizes[times]:
            return reference % data.sizes[times]
        raise UsageError(f"{times!r} has no labels: name the reference by its number, 0 to {data.sizes[times] - 1}")
    labels = data.coords[times].values
    if labels.dtype.kind == "M":
        try:
            asked = np.datetime64(reference)
        except (TypeError, ValueError):
            raise UsageError(f"reference {reference!r} is no date: give one as 2023-07-13") from None
        # A day is any moment of it.
        found = np.flatnonzero(labels.astype(asked.dtype) == asked)
    else:
        found = np.flatnonzero(labels == reference)
    if len(found) != 1:
        known = ", ".join(_label(data, times, i) for i in range(data.sizes[times]))
        what = "none" if not len(found) else "several"
        raise UsageError(f"reference {reference!r} is {what} of the dates: name one of {known}")
    return int(found[0])


def _label(data: xr.DataArray, times: str, index: int) -> str:
    if times not in data.coords:
        return f"date {index}"
    label = data.coords[times].values[index]
    return str(label.astype("datetime64[s]")).replace("T00:00:00", "") if label.dtype.kind == "M" else str(label)


def _days_apart(data: xr.DataArray, times: str, order: list[int]) -> list[float | None] | None:
    """Days from the reference to each other date, where known; None where labels are no dates."""
    if times not in data.coords or data.coords[times].dtype.kind != "M":
        return None
    labels = data.coords[times].values[order]
    days = np.abs(labels[1:] - labels[0]) / np.timedelta64(1, "D")
    # A label may be NaT.
    return [float(one) if np.isfinite(one) else None for one in days]


def _survey(images: Any, fuser: WindowFuser, days_apart: list[float | None] | None) -> Survey:
    rows, cols = images.shape[-2:]
    windows = tile_windows((rows, cols))
    parts = [images[:, :, down, across] for down, across in windows]
    if isinstance(images, dask.array.Array):
        parts = list(dask.compute(*parts))  # type: ignore[attr-defined,no-untyped-call]
    tiles = [
        (down.start, across.start, list(part), _validity(part, fuser))
        for (down, across), part in zip(windows, parts, strict=True)
    ]
    return fuser.survey(tiles, (rows, cols), days_apart)


def _fused(single: Any, images: Any, plan: ChunkPlan, fuser: WindowFuser, survey: Survey) -> Any:
    compute = partial(_fuse_chunk, fuser=fuser, survey=survey)
    if not isinstance(images, dask.array.Array):
        result = np.empty_like(single)
        for chunk in plan:
            rows, cols = chunk.out.toslices()
            result[:, rows, cols] = compute(*_parts(single, images, plan, chunk))
        return result
    tasks = [delayed(compute, pure=True)(*_parts(single, images, plan, chunk)) for chunk in plan]
    return joined(tasks, plan, single.shape[0], single.dtype)


def _parts(
    single: Any, images: Any, plan: ChunkPlan, chunk: Chunk
) -> tuple[Any, Any, tuple[int, int], tuple[Any, Any]]:
    """The product and the dates around a chunk, the corner of that window, and where in it the chunk lies."""
    inside = reflect(grow(chunk.core, MARGIN_PX), plan.extent.shape).inside
    rows, cols = inside.toslices()
    scale = plan.scale
    high_rows, high_cols = (slice(scale * one.start, scale * one.stop) for one in (rows, cols))
    own_rows, own_cols = chunk.out.toslices()
    within = (
        slice(own_rows.start - high_rows.start, own_rows.stop - high_rows.start),
        slice(own_cols.start - high_cols.start, own_cols.stop - high_cols.start),
    )
    return single[:, high_rows, high_cols], images[:, :, rows, cols], (rows.start, cols.start), within


def _fuse_chunk(
    single: NDArray[Any],
    images: NDArray[Any],
    corner: tuple[int, int],
    within: tuple[slice, slice],
    *,
    fuser: WindowFuser,
    survey: Survey,
) -> NDArray[Any]:
    valid = _validity(images, fuser)
    _check_fills(images, valid, fuser, survey)
    fused, _ = fuser(single, list(images), valid, survey, corner)
    return fused[:, within[0], within[1]]


def _check_fills(images: NDArray[Any], valid: list[NDArray[np.bool_]], fuser: WindowFuser, survey: Survey) -> None:
    """Refuse fill values that nothing declares, in the dates that take part; the reference is judged when upscaled.

    Raises :class:`catalog.SourceError`.
    """
    used = [number for number, date in enumerate(survey.dates, start=1) if isinstance(date, DateFit)]
    for number in used:
        for pixels, measured, band in zip(images[number], valid[number], fuser.bands, strict=True):
            values = pixels[measured].astype(np.float64)
            for fill in fills_in(values, band):
                if fill * band.scale + band.offset < LOWEST:
                    raise SourceError(f"the array has a date in which {band.name}: {fill_text(values, fill, PYTHON)}")


def _validity(images: NDArray[Any], fuser: WindowFuser) -> list[NDArray[np.bool_]]:
    """Find the pixels of each date that were measured, ``(bands, rows, cols)``."""
    nodata = [band.unmeasured for band in fuser.bands]
    return [unlike_any(one, nodata) for one in images]
