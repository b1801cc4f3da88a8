"""One chunk of several dates: the reference's image of the chunk and its surroundings, corrected by the other dates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo import Shape2d
from rasterio.windows import Window

from geosr import hardware
from geosr.dates.fuse import MARGIN_PX, WindowFuser
from geosr.dates.half_width import width_factor
from geosr.dates.survey import Survey
from geosr.inference.quantize import RowSink
from geosr.inference.upscaled_window import Uncertainty, UpscaledWindow, WindowConsistency, WindowReport
from geosr.inference.written import WrittenImage
from geosr.model.card import DatesCalibration
from geosr.model.kernels import BLUR_REACH, gaussian_taps
from tiling import grow, reflect

#: Side of what is fused at a time, source pixels: larger ones have less margin, and take more memory.
_BLOCK_PX = 256


@dataclass(frozen=True)
class DatedWindows:
    """Pixels of a chunk's dates."""

    window: Window
    """Chunk with its margin, as far as the scene reaches, pixels of the scene."""
    pixels: Sequence[NDArray[Any]]
    """DN ``(bands, rows, cols)`` of each date in the window, the reference first."""
    valid: Sequence[NDArray[np.bool_]]
    """Validity of each date, shaped as its pixels."""


@dataclass(frozen=True)
class Fusion:
    """Fuser, survey and threads of a run."""

    fuser: WindowFuser
    survey: Survey
    area: Window
    """Area that the survey is of, pixels of the scene."""
    threads: int
    calibration: DatesCalibration | None = None
    """Narrowing of half-widths; None where there are none, or the model's are those of one date."""


@dataclass(frozen=True)
class _Block:
    """Fused part of a chunk."""

    image: NDArray[Any]
    weights: NDArray[np.float32]
    """Weights of the dates of the survey, ``(dates, rows, cols)`` of the source."""
    width_factor: NDArray[np.float32] | None
    """Factor on its half-widths, ``(rows, cols)`` of the image; None for 1."""


@dataclass(frozen=True)
class FusedReport(WindowReport):
    """Statistics of one chunk of several dates."""

    weights: NDArray[np.float32] = field(kw_only=True)
    """Weights of the dates of the survey, ``(dates, rows, cols)`` of the source."""
    valid: NDArray[np.bool_] = field(kw_only=True)
    """Pixels of the reference that were measured, ``(bands, rows, cols)``."""

    @property
    def used(self) -> tuple[int, ...]:
        """Pixels at which each date of the survey took part."""
        return tuple(map(int, (self.weights > 0).sum(axis=(1, 2))))

    @property
    def measured(self) -> int:
        """Number of pixels of the reference that were measured."""
        return int(self.valid.any(axis=0).sum())


def dated_window(core: Window, shape: Shape2d) -> Window:
    """A chunk's core with the margin that its dates are fused on, as far as the scene reaches."""
    return reflect(grow(core, MARGIN_PX), shape).inside


def stream_fused(
    upscaled: UpscaledWindow, dated: DatedWindows, core: Window, fusion: Fusion, sink: RowSink, rows: int
) -> FusedReport:
    """Fuse the dates of a chunk's core, and stream its rows, so many at a time, to ``sink``.

    ``upscaled`` is the reference's product of the dates' window.
    """
    scale = fusion.fuser.card.scale
    own = dated.valid[0]
    place = tuple(
        slice(s.start - o.start, s.stop - o.start)
        for s, o in zip(core.toslices(), dated.window.toslices(), strict=True)
    )
    core_valid = own[:, place[0], place[1]]
    sigmas = np.asarray(fusion.fuser.sensor().sigmas)
    written = WrittenImage(gaussian_taps(sigmas, scale), core_valid, scale)
    crop = (slice(None), *(slice(scale * one.start, scale * one.stop) for one in place))
    uncertainty = upscaled.uncertainty
    if uncertainty is not None:
        uncertainty = Uncertainty(uncertainty.half_width_dn[crop], uncertainty.measured_fraction[crop])
    weights = np.empty((len(fusion.survey.dates), core.height, core.width), dtype=np.float32)
    with ThreadPoolExecutor(fusion.threads) as pool:
        for strip in _steps(core.row_off, core.height):
            blocks = [Window(left, strip[0], length, strip[1]) for left, length in _steps(core.col_off, core.width)]
            parts = list(pool.map(partial(_fused, upscaled.image, dated, fusion), blocks))
            image = np.concatenate([part.image for part in parts], axis=2)
            first_row = strip[0] - core.row_off
            weights[:, first_row : first_row + strip[1]] = np.concatenate([part.weights for part in parts], axis=2)
            top = scale * first_row
            factors = [part.width_factor for part in parts if part.width_factor is not None]
            if uncertainty is not None and factors:
                uncertainty.half_width_dn[:, top : top + image.shape[1]] *= np.concatenate(factors, axis=1)
            written.add(top, image)
            for first in range(0, image.shape[1], rows):
                sink(top + first, image[:, first : first + rows])
            hardware.release_free_memory()
    pixels = dated.pixels[0][:, place[0], place[1]]
    return FusedReport(
        _consistency(written, pixels, upscaled.consistency),
        uncertainty,
        upscaled.note,
        weights=weights,
        valid=core_valid,
    )


def _steps(start: int, length: int) -> list[tuple[int, int]]:
    """Starts and lengths of the blocks along one axis."""
    stop = start + length
    return [(first, min(_BLOCK_PX, stop - first)) for first in range(start, stop, _BLOCK_PX)]


def _fused(image: NDArray[Any], dated: DatedWindows, fusion: Fusion, block: Window) -> _Block:
    scale, outer = fusion.fuser.card.scale, dated.window.toslices()
    around = tuple(
        slice(
            max(one.start - MARGIN_PX, whole.start) - whole.start, min(one.stop + MARGIN_PX, whole.stop) - whole.start
        )
        for one, whole in zip(block.toslices(), outer, strict=True)
    )
    rows, cols = around
    corner = (
        int(outer[0].start + rows.start - fusion.area.row_off),
        int(outer[1].start + cols.start - fusion.area.col_off),
    )
    fused, weights = fusion.fuser(
        image[:, scale * rows.start : scale * rows.stop, scale * cols.start : scale * cols.stop],
        [one[:, rows, cols] for one in dated.pixels],
        [one[:, rows, cols] for one in dated.valid],
        fusion.survey,
        corner,
    )
    inner = [
        slice(one.start - whole.start - near.start, one.stop - whole.start - near.start)
        for one, whole, near in zip(block.toslices(), outer, around, strict=True)
    ]
    finer = tuple(slice(scale * one.start, scale * one.stop) for one in inner)
    factor = None
    if fusion.calibration is not None:
        factor = width_factor(weights, fusion.calibration, scale)[finer]
    return _Block(fused[:, *finer], weights[:, *inner], factor)


def _consistency(written: WrittenImage, pixels: NDArray[Any], single: WindowConsistency) -> WindowConsistency:
    """The source against the written image as the sensor sees it; the reference's alone where nothing tells."""
    seen, known = written.observed() if min(pixels.shape[1:]) > 2 * BLUR_REACH else (None, None)
    if seen is None or known is None or not known.any():
        return single
    residual = np.abs(seen - np.where(known, pixels, pixels.dtype.type(0)).astype(np.float32))
    return WindowConsistency(
        tuple(int(one) for one in known.sum(axis=(1, 2))),
        tuple(float(one) for one in np.where(known, residual, 0).sum(axis=(1, 2), dtype=np.float64)),
    )
