"""From the DN of a window to super-resolved DN: fill, scale, run, mask, round."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import BandSpec
from catalog.radiometry import reflectance_of
from geosr import hardware
from geosr.engine import Engine, EngineOutput, EngineSpec, Parallel, check_engine
from geosr.engine.buffers import BufferPool
from geosr.engine.rows import Rows, in_strips
from geosr.engine.start import start_engine
from geosr.errors import ModelError
from geosr.inference.plausible import BoundedRows, plausible_range
from geosr.inference.quantize import RowSink, ToDn, column, enlarge
from geosr.inference.upscaled_window import (
    NOTHING_MEASURED,
    SceneUncertainty,
    Uncertainty,
    UpscaledWindow,
    WindowConsistency,
    WindowReport,
)
from geosr.inference.written import WrittenImage
from geosr.model.bands import BandMapping, map_bands
from geosr.model.card import ModelCard
from geosr.model.kernels import BLUR_REACH, gaussian_taps, sensor_sigmas
from geosr.model.zoo import ModelRef
from tiling import fill_invalid

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

#: Side of the image by which a user's model is tried, source pixels, and the share of its contrast below which what
#: comes out is constant.
_PROBE_PX = 16
_DEAD = 0.01

#: Mean difference in reflectance between that image, which is around 0.2, and what comes out, beyond which a model is
#: damaged.
_ASTRAY = 0.15

_building = threading.Lock()


@dataclass(frozen=True)
class ModelSpec:
    """Specification from which any process builds an upscaler."""

    model: ModelRef
    digest: str
    """Identity of the model in the engine's precision."""
    engine: EngineSpec
    bands: tuple[BandSpec, ...]
    """Bands of the scene that are upscaled."""
    plain_image: bool

    @classmethod
    def of(cls, model: ModelRef, engine: EngineSpec, bands: tuple[BandSpec, ...], *, plain_image: bool) -> ModelSpec:
        """Specification of a model for ``bands``. Raises :class:`ModelError` for a card that cannot be read."""
        return cls(model, model.card.digest_in(engine.precision), engine, bands, plain_image)

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self.model.card


class Upscaler:
    """A model, ready for the bands of one scene."""

    def __init__(
        self,
        card: ModelCard,
        engine: Engine,
        bands: Sequence[BandSpec],
        mapping: BandMapping,
        parallel: Parallel,
        taps: NDArray[np.float32] | None = None,
    ) -> None:
        """``taps`` is the blur of each of ``bands``, ``(bands, taps)``; None where the model observes otherwise."""
        self._taps = taps
        self._engine = engine
        self._threads = parallel.threads
        self._memory, self._images = BufferPool(parallel.threads), BufferPool()
        self._mapping = mapping
        self.scale = card.scale
        self.halo_px, self.margin_px = card.halo_px, card.margin_px
        self.dn_scale = column([band.scale for band in bands])
        self.dn_offset = column([band.offset for band in bands])
        self._reference = column(card.reference_reflectance or [_UNIT_REFERENCE])
        self._overshoot = card.overshoot
        self._to_dn = ToDn(bands, mapping, self._reference, card.scale, self._threads, self._memory)

    def calibration_ratios(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
        """Errors of the model when it makes a window from itself: ``|error| / half-width``, for each of its bands.

        ``pixels`` (DN) and ``valid`` are ``(bands, rows, cols)``, the sides multiples of ``scale``. Only measured
        pixels are returned, uncalibrated half-widths assumed.
        """
        if not valid.any():
            return [np.empty(0, dtype=np.float32)] * len(self._mapping.enter(valid.astype(np.float32)))
        reflectance = fill_invalid(self._reflectance(pixels, valid), valid, reach_px=self.halo_px)
        ratios = self._engine.calibration_ratios(self._mapping.enter(reflectance) / self._reference)
        measured = self._mapping.enter(valid.astype(np.float32)) > _MEASURED
        return [ratio[there] for ratio, there in zip(ratios, measured, strict=True)]

    def __call__(
        self,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        *,
        uncertainty: SceneUncertainty | None = None,
    ) -> UpscaledWindow:
        """Upscale the inside of a window.

        ``pixels`` (DN) and ``valid`` are ``(bands, rows, cols)`` with a margin of ``margin_px`` on each side. Returns
        DN of the same type without the margin, ``scale`` times finer, in which nodata are exactly the pixels under
        those that are not valid, and the consistency of the inside; with ``uncertainty`` also its half-widths and
        measured fraction.
        """
        bands, rows, cols = _inside(valid, self.margin_px).shape
        image = self._images.borrow("image", (bands, rows * self.scale, cols * self.scale), pixels.dtype)

        def keep(first: int, part: NDArray[Any]) -> None:
            image[:, first : first + part.shape[1]] = part

        report = self.stream_rows(pixels, valid, keep, rows=_KEPT_ROWS, uncertainty=uncertainty)
        return UpscaledWindow(report.consistency, report.uncertainty, report.note, image=image)

    def stream_rows(
        self,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        sink: RowSink,
        *,
        rows: int,
        uncertainty: SceneUncertainty | None = None,
    ) -> WindowReport:
        """Like ``__call__``, but stream rows to ``sink`` instead of returning the image.

        That is given so many ``rows`` at a time, a multiple of ``scale``, and the number of the first; in any order, on
        several threads. They are its own until it returns.
        """
        margin, halo = self.margin_px, self.halo_px
        core_valid = _inside(valid, margin)
        if not core_valid.any():
            self._to_dn.write_nodata(core_valid, pixels.dtype, sink, rows)
            nothing = WindowConsistency((0,) * len(valid), (0.0,) * len(valid))
            return WindowReport(nothing, None if uncertainty is None else self._know_nothing(core_valid))
        reflectance, lr, measured = self._entering(pixels, valid)

        written = None
        if self._taps is not None and min(core_valid.shape[1:]) > 2 * BLUR_REACH:
            written = WrittenImage(self._taps, core_valid, self.scale)

        def measuring_sink(first: int, part: NDArray[Any]) -> None:
            if written is not None:
                written.add(first, part)
            sink(first, part)

        bounds = None
        if self._overshoot is not None:
            bounds = plausible_range(lr, halo, self._overshoot, self._threads)

        def finish(image: Rows) -> None:
            image = image if bounds is None else BoundedRows(image, *bounds)
            self._to_dn.write_rows(image, core_valid, pixels.dtype, measuring_sink, rows)

        upscaled = self._engine.upscale(lr, measured, uncertainty=uncertainty is not None, sink=finish)
        consistency = self._compare(
            upscaled.observed, _inside(reflectance, halo), _inside(pixels, margin), core_valid, written
        )
        estimate = None
        if uncertainty is not None:
            estimate = self._uncertainty(upscaled, core_valid, uncertainty.width_factors)
        return WindowReport(consistency, estimate, upscaled.note)

    def _entering(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance without the margin to fill from; the same as it enters the network, and what of that is measured.

        What is borrowed for it is the next chunk's when this one has gone.
        """
        outer = self.margin_px - self.halo_px
        filled = None
        if not valid.all():
            filled = _inside(fill_invalid(self._reflectance(pixels, valid), valid, reach_px=outer), outer)
        pixels, valid = _inside(pixels, outer), _inside(valid, outer)
        _, rows, cols = pixels.shape
        bands = len(self._mapping.to_model)
        reflectance, lr = (self._memory.borrow("source", (count, rows, cols)) for count in (len(pixels), bands))

        def enter(some: slice) -> None:
            part = reflectance[:, some]
            part[...] = self._reflectance(pixels[:, some], valid[:, some]) if filled is None else filled[:, some]
            np.divide(self._mapping.enter(part), self._reference, out=lr[:, some])

        in_strips(rows, self._threads, enter, _WIDE_STRIP_ROWS)
        if filled is None:
            return reflectance, lr, np.broadcast_to(np.True_, lr.shape)
        return reflectance, lr, self._mapping.enter(valid.astype(np.float32)) > _MEASURED

    def _compare(
        self,
        observed: NDArray[np.float32],
        reflectance: NDArray[np.float32],
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        written: WrittenImage | None,
    ) -> WindowConsistency:
        """The source with what the sensor would see of the DN that are written, all without a margin.

        Where that does not follow from the window alone, and for a model that observes in its own way, what the engine
        has ``observed`` of its image stands in.
        """
        seen_dn, known = (None, None) if written is None else written.observed()

        def compare(some: slice) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            seen = self._mapping.leave(observed[:, some] * self._reference)
            residual = np.abs(seen - reflectance[:, some]) / np.abs(self.dn_scale)
            if seen_dn is not None and known is not None:
                source = np.where(known[:, some], pixels[:, some], pixels.dtype.type(0)).astype(np.float32)
                residual = np.where(known[:, some], np.abs(seen_dn[:, some] - source), residual)
            there = valid[:, some]
            return there.sum(axis=(1, 2)), np.where(there, residual, 0).sum(axis=(1, 2), dtype=np.float64)

        parts = in_strips(valid.shape[1], self._threads, compare, _WIDE_STRIP_ROWS)
        counts, sums = (np.sum(one, axis=0) for one in zip(*parts, strict=True))
        return WindowConsistency(tuple(map(int, counts)), tuple(map(float, sums)))

    def _reflectance(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        # What was not measured may be a number that 32 bits cannot hold.
        measured_dn = pixels if valid.all() else np.where(valid, pixels, pixels.dtype.type(0))
        return reflectance_of(measured_dn, self.dn_scale, self.dn_offset)

    def _uncertainty(
        self, upscaled: EngineOutput, valid: NDArray[np.bool_], width_factors: Sequence[float]
    ) -> Uncertainty:
        """Half-widths in DN, which the offset does not move, and measured fraction in percent; without the halo."""
        if upscaled.half_width is None or upscaled.measured_fraction is None:
            raise ValueError("the engine gave no uncertainty")
        unknown = self._know_nothing(valid)
        # Mixing weights are never negative, and errors of bands that are mixed are taken to go together.
        own = upscaled.half_width * (self._reference * column(width_factors or [1.0]))
        half_width = self._mapping.leave(own)
        measured = np.any(valid, axis=0, keepdims=True)
        percent = np.rint(100 * upscaled.measured_fraction).clip(0, 100).astype(np.uint8)
        return Uncertainty(
            half_width_dn=np.where(
                enlarge(valid, self.scale), half_width / np.abs(self.dn_scale), unknown.half_width_dn
            ),
            measured_fraction=np.where(enlarge(measured, self.scale), percent, unknown.measured_fraction),
        )

    def _know_nothing(self, valid: NDArray[np.bool_]) -> Uncertainty:
        bands, rows, cols = valid.shape[0], valid.shape[1] * self.scale, valid.shape[2] * self.scale
        return Uncertainty(
            half_width_dn=np.full((bands, rows, cols), np.nan, dtype=np.float32),
            measured_fraction=np.full((1, rows, cols), NOTHING_MEASURED, dtype=np.uint8),
        )


def upscaler_of(spec: ModelSpec, parallel: Parallel | None = None) -> Upscaler:
    """The upscaler of a specification, kept by the process; by default all cores work on one window.

    Raises :class:`geosr.errors.ModelError`.
    """
    # Threads that ask at the same time would each start an engine, with memory and threads of its own.
    with _building:
        return _build(spec, parallel or Parallel(threads=hardware.cores()))


@lru_cache(maxsize=_KEPT)
def _build(spec: ModelSpec, shared: Parallel) -> Upscaler:
    card = spec.card
    names, roles = ([band.name for band in spec.bands], [band.role for band in spec.bands])
    mapping = map_bands(names, card, plain_image=spec.plain_image, roles=roles)
    transfers = card.transfers([band.mtf_nyquist for band in spec.bands], plain_image=mapping.stands_in)
    engine = _engine(spec.model, spec.digest, tuple(transfers), spec.engine, shared, plain_image=mapping.stands_in)
    upscaler = Upscaler(card, engine, spec.bands, mapping, shared, _blur_of(card, transfers, mapping))
    if card.network is not None and not spec.model.shipped:
        _check_detail(upscaler, card, spec.bands)
    return upscaler


def _blur_of(card: ModelCard, transfers: Sequence[float | None], mapping: BandMapping) -> NDArray[np.float32] | None:
    """The taps of each of the scene's bands; None for a stack, whose coarse bands are seen at their own distance."""
    if card.stack is not None:
        return None
    taps = gaussian_taps(np.asarray(sensor_sigmas(transfers, card.scale)), card.scale)
    # Bands that are mixtures are those of plain images, whose blur is the same.
    return taps[list(mapping.sources or [0] * len(mapping.keep))]


def _check_detail(upscaler: Upscaler, card: ModelCard, bands: Sequence[BandSpec]) -> None:
    """Refuse a model of a user's whose images are constant, no numbers or far from their source, whatever that is.

    Raises :class:`ModelError`.
    """
    side = _PROBE_PX + 2 * upscaler.margin_px
    # Fields, the same in all bands: reflectance between 0.1 and 0.3. Smaller ones are grain to some networks.
    rows, cols = np.mgrid[:side, :side] // (_PROBE_PX // 2)
    reflectance = (0.2 + 0.1 * np.where((rows + cols) % 2, 1, -1)).astype(np.float32)
    pixels = (reflectance - upscaler.dn_offset) / upscaler.dn_scale
    image = upscaler(pixels, np.ones(pixels.shape, dtype=bool)).image
    given, made = pixels.std(axis=(1, 2)), image.std(axis=(1, 2))
    # NaN is not greater than anything.
    dead = [band.name for band, before, after in zip(bands, given, made, strict=True) if not after > _DEAD * before]
    if dead:
        raise ModelError(
            f"model {card.name} gives constant images in {', '.join(dead)}, whatever it is given: its weights are not "
            "those of a trained network"
        )
    rows, cols = (side // upscaler.scale for side in image.shape[1:])
    seen = image.reshape(len(image), rows, upscaler.scale, cols, upscaler.scale).mean(axis=(2, 4))
    off = np.abs((seen - _inside(pixels, upscaler.margin_px)) * upscaler.dn_scale).mean(axis=(1, 2))
    astray = [f"{band.name} by {by:.2g}" for band, by in zip(bands, off, strict=True) if not by < _ASTRAY]
    if astray:
        raise ModelError(
            f"model {card.name} gives images that differ in reflectance from what it is given ({', '.join(astray)}): "
            "its weights or its card are damaged"
        )


@lru_cache(maxsize=_KEPT)
def _engine(
    model: ModelRef,
    digest: str,
    transfers: tuple[float | None, ...],
    spec: EngineSpec,
    shared: Parallel,
    *,
    plain_image: bool,
) -> Engine:
    """An engine, for scenes of whatever radiometry: it has the memory, and upscalers next to none.

    By its ``digest`` a card that has changed is another model.
    """
    check_engine(spec)
    # The libraries of networks sink seconds to load: not before a source has been found good.
    return start_engine(model.card, transfers, spec, shared, plain_image=plain_image)


def _inside(array: NDArray[Any], margin: int) -> NDArray[Any]:
    return array if margin == 0 else array[..., margin:-margin, margin:-margin]
