"""Several dates of an array to one image: ``geosr.fuse(da, reference="2023-07-13")``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Unpack, overload

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
from geosr.dates.half_width import width_factor
from geosr.dates.survey import DateFit, Survey, tile_windows
from geosr.errors import UsageError
from geosr.model.card import DatesCalibration, ModelCard
from geosr.model.zoo import DEFAULT_MODEL, ModelRef
from geosr.run.uncertainty_layers import check_calibrated
from tiling import Chunk, ChunkPlan, grow, reflect, whole

#: Side of a chunk by default, pixels of the source: with margins of the dates around, small ones cost more.
_CORE_PX = 512


@overload
def fuse(
    data: xr.DataArray,
    reference: Any,
    model: str = DEFAULT_MODEL,
    *,
    uncertainty: Literal[False] = False,
    **options: Unpack[UpscaleOptions],
) -> xr.DataArray: ...


@overload
def fuse(
    data: xr.DataArray,
    reference: Any,
    model: str = DEFAULT_MODEL,
    *,
    uncertainty: Literal[True],
    **options: Unpack[UpscaleOptions],
) -> xr.Dataset: ...


def fuse(
    data: xr.DataArray,
    reference: Any,
    model: str = DEFAULT_MODEL,
    *,
    uncertainty: bool = False,
    **options: Unpack[UpscaleOptions],
) -> xr.DataArray | xr.Dataset:
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
    uncertainty
        Return a Dataset with half-widths and measured fraction, as of :func:`geosr.upscale`. The half-widths are
        narrower where other dates take part, the measured fraction is of the reference.

    Returns
    -------
    xarray.DataArray | xarray.Dataset
        The reference's image on the finer grid; a Dataset with ``uncertainty=True``. The attribute ``GEOSR_DATES`` of
        the image says which dates took part, with what shift and weight, and why others did not.

    Raises
    ------
    geosr.errors.UsageError
        The array has no dimension for dates, the reference is none of them or several, the model serves bands of
        several sampling distances, or its half-widths are asked for and not calibrated for several dates.
    geosr.errors.ModelError, catalog.CatalogError
        As of :func:`geosr.upscale`.

    """
    if not isinstance(data, xr.DataArray) or data.ndim != 4:
        raise UsageError("fuse takes one DataArray of several dates, (time, band, y, x): stack them along a dimension")
    card = ModelRef(model, options.get("sharpness", 0.0)).card
    narrowing = _narrowing(card) if uncertainty else None
    if card.stack is not None:
        raise UsageError(f"model {model} serves bands of several sampling distances: dates are fused for one")
    options.setdefault("core_px", _CORE_PX)
    times = str(data.dims[0])
    chosen_date = _index(data, times, reference)
    first = data.isel({times: chosen_date})
    order = [chosen_date, *(i for i in range(data.sizes[times]) if i != chosen_date)]
    made = upscale(first, model, uncertainty=uncertainty, **options)
    single = made["image"] if isinstance(made, xr.Dataset) else made
    radiometry = GivenRadiometry(options.get("scale"), options.get("offset"), options.get("nodata"))
    specs = radiometry.specs(first, band_names(first, first, options.get("bands")))
    chosen = served(card, [band.name for band in specs])
    stored = StoredBands.of(first, [specs[i] for i in chosen], radiometry.nodata)
    fuser = WindowFuser(card, stored.specs)
    images = data.isel({times: order, data.dims[1]: chosen}).data

    survey = _survey(images, fuser, _days_apart(data, times, order))
    result = single.copy(data=single.data)
    result.attrs["GEOSR_DATES"] = describe([_label(data, times, i) for i in order], survey)
    factor: Any = 1
    if survey.used:
        geobox = grid_of(first)
        plan = ChunkPlan(geobox, whole(geobox), card.scale, options["core_px"], card.halo_px)
        pixels, *factors = _fused(single.data, images, plan, _ChunkFuser(fuser, survey, narrowing))
        result = result.copy(data=stored.fit(pixels))
        factor = factors[0] if factors else 1
    if isinstance(made, xr.Dataset):
        width = made["half_width"]
        return made.assign(image=result, half_width=width.copy(data=width.data * factor))
    return result


def _narrowing(card: ModelCard) -> DatesCalibration:
    """Narrowing of the half-widths by dates. Raises :class:`UsageError` for a model that has none."""
    narrowing = check_calibrated(card).dates
    if narrowing is None:
        raise UsageError(
            f"the half-widths of model {card.name} are not calibrated for several dates: leave uncertainty out, or "
            "upscale one date"
        )
    return narrowing


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


def _fused(single: Any, images: Any, plan: ChunkPlan, compute: _ChunkFuser) -> list[Any]:
    """The image, and the factor on its half-widths where ``compute`` gives one."""
    if not isinstance(images, dask.array.Array):
        result: list[NDArray[Any]] = []
        for chunk in plan:
            rows, cols = chunk.out.toslices()
            made = compute(*_parts(single, images, plan, chunk))
            result = result or [np.empty((len(one), *single.shape[1:]), one.dtype) for one in made]
            for whole_image, part in zip(result, made, strict=True):
                whole_image[:, rows, cols] = part
        return result
    forms = [(single.shape[0], single.dtype)]
    if compute.narrowing is not None:
        forms.append((1, np.dtype(np.float32)))
    tasks = [delayed(compute, pure=True, nout=len(forms))(*_parts(single, images, plan, chunk)) for chunk in plan]
    return [joined([task[i] for task in tasks], plan, *form) for i, form in enumerate(forms)]


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


@dataclass(frozen=True)
class _ChunkFuser:
    """Fuses chunks of an array."""

    fuser: WindowFuser
    survey: Survey
    narrowing: DatesCalibration | None

    def __call__(
        self, single: NDArray[Any], images: NDArray[Any], corner: tuple[int, int], within: tuple[slice, slice]
    ) -> tuple[NDArray[Any], ...]:
        """The chunk's image, and the factor on its half-widths, ``(1, rows, cols)``, where there are any."""
        valid = _validity(images, self.fuser)
        _check_fills(images, valid, self.fuser, self.survey)
        fused, weights = self.fuser(single, list(images), valid, self.survey, corner)
        image = fused[:, within[0], within[1]]
        if self.narrowing is None:
            return (image,)
        return image, width_factor(weights, self.narrowing, self.fuser.card.scale)[None, *within]


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
