"""From the DN of a window to super-resolved DN: fill, scale, run, mask, round."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalog import BandSpec
from geosr.engine import Engine, EngineSpec, Parallel, Upscaled, check_engine, system
from geosr.engine.memory import Memory
from geosr.engine.rows import Rows, in_strips
from geosr.engine.start import start_engine
from geosr.model.bands import BandMapping, map_bands
from geosr.model.card import ModelCard
from geosr.model.zoo import read_card
from tiling import beside, fill_invalid

if TYPE_CHECKING:
    from geosr.native.dn import ToDn

#: Reflectance that is 1 at the input of models that have no reference of their own.
_UNIT_REFERENCE = 1.0

#: Of bands that are mixtures: the share of what was measured from which they count as measured.
_MEASURED = 0.999

#: Rows of images at the source's resolution that are worked on at a time, for the same reason as fewer are of others.
_WIDE_STRIP_ROWS = 64

#: Rows of an image that are put into it at a time.
_KEPT_ROWS = 64

#: Engines that a process keeps, and upscalers.
_KEPT = 2

_building = threading.Lock()

#: Support of a place where no band was measured.
NO_SUPPORT = 255


@dataclass(frozen=True)
class Consistency:
    """How well the result, seen through the sensor, gives the source back: sums over measured LR pixels."""

    count: tuple[int, ...]
    """Pixels, per band."""
    absolute_dn: tuple[float, ...]
    """Sum of the absolute differences, DN, per band."""


@dataclass(frozen=True)
class Uncertainty:
    """How far to believe a result."""

    half_width_dn: NDArray[np.float32]
    """Of each pixel's calibrated interval, DN, shaped as the image; NaN where that is nodata."""
    support: NDArray[np.uint8]
    """Percentage of the local detail that is measured, ``(1, rows, cols)``; 255 where no band was measured."""


@dataclass(frozen=True)
class Account:
    """What there is to say of an image that was made of a window."""

    consistency: Consistency
    uncertainty: Uncertainty | None = None
    """None when it was not asked for."""
    note: str | None = None
    """What a user should know of how it was made."""


@dataclass(frozen=True)
class Result(Account):
    """What was made of one window."""

    image: NDArray[Any] = field(kw_only=True)
    """DN, ``(bands, rows, cols)``."""


@dataclass(frozen=True)
class ModelSpec:
    """What it takes to build an upscaler in any process."""

    model: str
    """Name of a shipped model or path of a card."""
    digest: str
    """Identity of the model."""
    engine: EngineSpec
    bands: tuple[BandSpec, ...]
    """Bands of the scene that are upscaled."""
    picture: bool
    sharpness: float = 0.0
    """Share of the model's visual weights."""


class Upscaler:
    """A model, ready for the bands of one scene."""

    def __init__(
        self,
        card: ModelCard,
        engine: Engine,
        bands: Sequence[BandSpec],
        mapping: BandMapping,
        parallel: Parallel,
    ) -> None:
        self._engine = engine
        self._threads = parallel.threads
        self._memory, self._images = Memory(parallel.threads), Memory()
        self._mapping = mapping
        self.scale = card.scale
        self.halo_px = card.halo_px
        self._bands = tuple(bands)
        self._dn_scale = _column([band.scale for band in bands])
        self._dn_offset = _column([band.offset for band in bands])
        self._reference = _column(card.reference_reflectance or [_UNIT_REFERENCE])

    @property
    def margin_px(self) -> int:
        """LR pixels that have to be read around a core: the halo, and as much again to fill invalid pixels from."""
        return 2 * self.halo_px

    def rehearse(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
        """How far off the model is when it makes a window from itself: ``|error| / half-width``, for each of its bands.

        ``pixels`` (DN) and ``valid`` are ``(bands, rows, cols)``, the sides multiples of ``scale``. Only measured
        pixels are returned, uncalibrated half-widths assumed.
        """
        if not valid.any():
            return [np.empty(0, dtype=np.float32)] * len(self._mapping.enter(valid.astype(np.float32)))
        reflectance = fill_invalid(self._reflectance(pixels, valid), valid, reach_px=self.halo_px)
        ratios = self._engine.rehearse(self._mapping.enter(reflectance) / self._reference)
        measured = self._mapping.enter(valid.astype(np.float32)) > _MEASURED
        return [ratio[there] for ratio, there in zip(ratios, measured, strict=True)]

    def __call__(
        self,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        *,
        uncertainty: bool = False,
        width_factors: Sequence[float] = (),
    ) -> Result:
        """Upscale the inside of a window.

        ``pixels`` (DN) and ``valid`` are ``(bands, rows, cols)`` with a margin of ``margin_px`` on each side. Returns
        DN of the same type without the margin, ``scale`` times finer, in which nodata are exactly the pixels under
        those that are not valid, and the consistency of the inside. With ``uncertainty`` also that, its half-widths
        multiplied by ``width_factors``, one for each of the model's bands or none; a model without calibrated
        half-widths has no uncertainty.
        """
        bands, rows, cols = _inside(valid, self.margin_px).shape
        image = self._images.lend("image", (bands, rows * self.scale, cols * self.scale), pixels.dtype)

        def keep(first: int, part: NDArray[Any]) -> None:
            image[:, first : first + part.shape[1]] = part

        account = self.hand_over(
            pixels, valid, keep, rows=_KEPT_ROWS, uncertainty=uncertainty, width_factors=width_factors
        )
        return Result(account.consistency, account.uncertainty, account.note, image=image)

    def hand_over(
        self,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        take: Callable[[int, NDArray[Any]], None],
        *,
        rows: int,
        uncertainty: bool = False,
        width_factors: Sequence[float] = (),
    ) -> Account:
        """The same, but the image goes to ``take`` and is never there as a whole.

        That is given so many ``rows`` at a time, a multiple of ``scale``, and the number of the first; in any order, on
        several threads. They are its own until it returns.
        """
        margin, halo = self.margin_px, self.halo_px
        core_valid = _inside(valid, margin)
        if not core_valid.any():
            self._hand_over_nothing(core_valid, pixels.dtype, take, rows)
            nothing = Consistency((0,) * len(valid), (0.0,) * len(valid))
            return Account(nothing, self._know_nothing(core_valid) if uncertainty else None)
        reflectance, lr, measured = self._entering(pixels, valid)

        def finish(image: Rows) -> None:
            self._finish(image, core_valid, pixels.dtype, take, rows // self.scale)

        upscaled = self._engine.upscale(lr, measured, uncertainty=uncertainty, take=finish)
        consistency = self._compare(upscaled.observed, _inside(reflectance, halo), core_valid)
        doubts = self._uncertainty(upscaled, core_valid, width_factors) if uncertainty else None
        return Account(consistency, doubts, upscaled.note)

    def _entering(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance without the margin to fill from; the same as it enters the network, and what of that is measured.

        What is lent for it is the next chunk's when this one has gone.
        """
        outer = self.margin_px - self.halo_px
        filled = None
        if not valid.all():
            filled = _inside(fill_invalid(self._reflectance(pixels, valid), valid, reach_px=outer), outer)
        pixels, valid = _inside(pixels, outer), _inside(valid, outer)
        _, rows, cols = pixels.shape
        bands = len(self._mapping.to_model)
        reflectance, lr = (self._memory.lend("source", (count, rows, cols)) for count in (len(pixels), bands))

        def enter(some: slice) -> None:
            part = reflectance[:, some]
            part[...] = self._reflectance(pixels[:, some], valid[:, some]) if filled is None else filled[:, some]
            np.divide(self._mapping.enter(part), self._reference, out=lr[:, some])

        in_strips(rows, self._threads, enter, _WIDE_STRIP_ROWS)
        if filled is None:
            return reflectance, lr, np.ones(lr.shape, bool)
        return reflectance, lr, self._mapping.enter(valid.astype(np.float32)) > _MEASURED

    def _compare(
        self, observed: NDArray[np.float32], reflectance: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> Consistency:
        """The source with what the sensor would see of the result, all without a margin."""

        def compare(some: slice) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            seen = self._mapping.leave(observed[:, some] * self._reference)
            residual = np.abs(seen - reflectance[:, some]) / np.abs(self._dn_scale)
            there = valid[:, some]
            return there.sum(axis=(1, 2)), np.where(there, residual, 0).sum(axis=(1, 2), dtype=np.float64)

        parts = in_strips(valid.shape[1], self._threads, compare, _WIDE_STRIP_ROWS)
        counts, sums = (np.sum(one, axis=0) for one in zip(*parts, strict=True))
        return Consistency(tuple(map(int, counts)), tuple(map(float, sums)))

    def _reflectance(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        # What was not measured may be a number that 32 bits cannot hold.
        measured_dn = pixels if valid.all() else np.where(valid, pixels, pixels.dtype.type(0))
        reflectance = measured_dn.astype(np.float32)
        reflectance *= self._dn_scale
        reflectance += self._dn_offset
        return reflectance

    def _uncertainty(self, upscaled: Upscaled, valid: NDArray[np.bool_], width_factors: Sequence[float]) -> Uncertainty:
        """Half-widths in DN, which the offset does not move, and support in percent; both without the halo."""
        if upscaled.half_width is None or upscaled.support is None:
            raise ValueError("the engine gave no uncertainty")
        unknown = self._know_nothing(valid)
        # Mixing weights are never negative, and errors of bands that are mixed are taken to go together.
        own = upscaled.half_width * (self._reference * _column(width_factors or [1.0]))
        half_width = self._mapping.leave(own)
        measured = np.any(valid, axis=0, keepdims=True)
        percent = np.rint(100 * upscaled.support).clip(0, 100).astype(np.uint8)
        return Uncertainty(
            half_width_dn=np.where(self._enlarge(valid), half_width / np.abs(self._dn_scale), unknown.half_width_dn),
            support=np.where(self._enlarge(measured), percent, unknown.support),
        )

    def _know_nothing(self, valid: NDArray[np.bool_]) -> Uncertainty:
        bands, rows, cols = valid.shape[0], valid.shape[1] * self.scale, valid.shape[2] * self.scale
        return Uncertainty(
            half_width_dn=np.full((bands, rows, cols), np.nan, dtype=np.float32),
            support=np.full((1, rows, cols), NO_SUPPORT, dtype=np.uint8),
        )

    def _enlarge(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(bands, rows, cols)`` at high resolution, pixel by pixel."""
        return valid.repeat(self.scale, axis=1).repeat(self.scale, axis=2)

    def _finish(
        self,
        image: Rows,
        valid: NDArray[np.bool_],
        dtype: np.dtype[Any],
        take: Callable[[int, NDArray[Any]], None],
        taken_rows: int,
    ) -> None:
        """DN in the source's type at their places, with nodata where it belongs and nowhere else."""
        bands, rows, cols = valid.shape
        native = self._native(dtype)

        def finish(some: slice) -> None:
            size = (some.stop - some.start) * self.scale
            out = self._memory.lend("rows", (bands, size, cols * self.scale), dtype)
            in_strips(some.stop - some.start, 1, lambda strip: fill(some.start, strip, out))
            take(some.start * self.scale, out)

        def fill(start: int, strip: slice, out: NDArray[Any]) -> None:
            part = out[:, strip.start * self.scale : strip.stop * self.scale]
            phases = image(start + strip.start, start + strip.stop)
            if native is not None and native.takes(phases):
                native(phases, part)
            else:
                dn = self._to_dn(phases, dtype)
                # A view of the rows of blocks: band, row, row in the block, column, column in the block.
                part.reshape(bands, -1, self.scale, cols, self.scale)[:] = dn.transpose(0, 3, 1, 4, 2)
                self._avoid_nodata(part)
            self._mark_nodata(part, valid[:, start + strip.start : start + strip.stop])

        in_strips(rows, self._threads, finish, taken_rows)

    def _native(self, dtype: np.dtype[Any]) -> ToDn | None:
        """What does the same as :meth:`_to_dn` and :meth:`_avoid_nodata` in one pass; None where it cannot."""
        sources = self._mapping.sources
        if sources is None or not system.has_native():
            return None
        from geosr.native.dn import ToDn

        if not ToDn.makes(dtype):
            return None
        reference = np.broadcast_to(self._reference, (len(self._mapping.to_model), 1, 1))[list(sources)]
        nodata = [band.nodata for band in self._bands]
        return ToDn(sources, reference, self._dn_offset, self._dn_scale, dtype, nodata)

    def _to_dn(self, phases: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """``(bands, block row, block column, rows, cols)`` of the scene's bands."""
        reflectance = phases * self._reference[..., None]
        _, count, rows, cols = reflectance.shape
        mixed = self._mapping.leave(reflectance.reshape(len(reflectance), -1, cols)).reshape(-1, count, rows, cols)
        values = (mixed - self._dn_offset[..., None]) / self._dn_scale[..., None]
        return _to_dtype(values, dtype).reshape(-1, self.scale, self.scale, rows, cols)

    def _avoid_nodata(self, out: NDArray[Any]) -> None:
        for b, band in enumerate(self._bands):
            if band.nodata is None:
                continue
            taken = out[b] == band.nodata
            if taken.any():
                out[b][taken] = beside(band.nodata, out.dtype)

    def _mark_nodata(self, out: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        for b, band in enumerate(self._bands):
            if band.nodata is not None and not valid[b].all():
                out[b][self._enlarge(~valid[b : b + 1])[0]] = band.nodata

    def _hand_over_nothing(
        self, valid: NDArray[np.bool_], dtype: np.dtype[Any], take: Callable[[int, NDArray[Any]], None], rows: int
    ) -> None:
        """What becomes of a window in which nothing was measured."""

        def fill(some: slice) -> None:
            part = valid[:, some]
            out = np.zeros((len(part), part.shape[1] * self.scale, part.shape[2] * self.scale), dtype=dtype)
            self._mark_nodata(out, part)
            take(some.start * self.scale, out)

        in_strips(valid.shape[1], self._threads, fill, rows // self.scale)


def upscaler_of(spec: ModelSpec, parallel: Parallel | None = None) -> Upscaler:
    """The upscaler of a specification, kept by the process; by default all cores work on one window.

    Raises :class:`geosr.errors.ModelError`.
    """
    # Threads that ask at the same time would each start an engine, with memory and threads of its own.
    with _building:
        return _build(spec, parallel or Parallel(threads=system.cores()))


@lru_cache(maxsize=_KEPT)
def _build(spec: ModelSpec, shared: Parallel) -> Upscaler:
    card = read_card(spec.model, spec.sharpness)
    names, roles = ([band.name for band in spec.bands], [band.role for band in spec.bands])
    mapping = map_bands(names, card, picture=spec.picture, roles=roles)
    transfers = card.transfers([band.mtf_nyquist for band in spec.bands], picture=mapping.stands_in)
    engine = _engine(
        spec.model, spec.digest, spec.sharpness, tuple(transfers), spec.engine, shared, picture=mapping.stands_in
    )
    return Upscaler(card, engine, spec.bands, mapping, shared)


@lru_cache(maxsize=_KEPT)
def _engine(
    model: str,
    digest: str,
    sharpness: float,
    transfers: tuple[float | None, ...],
    spec: EngineSpec,
    shared: Parallel,
    *,
    picture: bool,
) -> Engine:
    """An engine, for scenes of whatever radiometry: it has the memory, and upscalers next to none.

    By its ``digest`` a card that has changed is another model.
    """
    check_engine(spec)
    # The libraries of networks take seconds to load: not before a source has been found good.
    return start_engine(read_card(model, sharpness), transfers, spec, shared, picture=picture)


def _inside(array: NDArray[Any], margin: int) -> NDArray[Any]:
    return array if margin == 0 else array[..., margin:-margin, margin:-margin]


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)


def _to_dtype(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    highest = np.float32(limits.max)
    if int(highest) > limits.max:
        # Of 32 bits and more the largest is rounded up, out of the type.
        highest = np.nextafter(highest, np.float32(0))
    return np.clip(np.rint(values), np.float32(limits.min), highest).astype(dtype)
