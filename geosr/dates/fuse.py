"""One window of DN: the reference's product, corrected by further dates, in the product's own type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from catalog import BandSpec
from catalog.radiometry import reflectance_of
from geosr.dates.correct import DatedWindow, solve_correction
from geosr.dates.survey import Survey, Tile, survey_dates
from geosr.inference.plausible import plausible_range
from geosr.inference.quantize import column
from geosr.model.card import ModelCard
from geosr.model.kernels import SQUARE_PIXEL_MTF, sensor_sigmas
from geosr.model.sensor import Sensor
from tiling import fill_invalid, nearest_non_nodata

#: Source pixels around a window that its result depends on.
MARGIN_PX = 32

#: How far what was not measured is filled from, source pixels.
_FILL_PX = 32


@dataclass(frozen=True)
class WindowFuser:
    """Makes one image of the dates of each window of a scene, whose model and bands they share."""

    card: ModelCard
    bands: tuple[BandSpec, ...]
    """Bands of the reference, in the order of the arrays."""
    others: tuple[tuple[BandSpec, ...], ...] = ()
    """Bands of each further date, whose DN may become reflectance otherwise; empty where all are as the reference's."""

    @property
    def _transfers(self) -> list[float]:
        """Modulation transfer at Nyquist of each band, as the model assumes it."""
        own = [band.mtf_nyquist for band in self.bands]
        if self.card.bands is not None and self.card.mtf_nyquist is not None:
            assumed = dict(zip(self.card.bands, self.card.mtf_nyquist, strict=True))
            own = [assumed.get(band.name, band.mtf_nyquist) for band in self.bands]
        return [SQUARE_PIXEL_MTF if one is None else one for one in own]

    def sensor(self) -> Sensor:
        """The blur of the bands."""
        return Sensor(sensor_sigmas(self._transfers, self.card.scale), self.card.scale)

    def survey(
        self,
        tiles: Sequence[tuple[int, int, Sequence[NDArray[Any]], Sequence[NDArray[np.bool_]]]],
        shape: tuple[int, int],
        days_apart: Sequence[float | None] | None = None,
    ) -> Survey:
        """Register and weigh the dates of a scene of this shape, the reference first.

        Each tile is its first row and column in the scene, its DN and what of them was measured, both
        ``(bands, rows, cols)`` for each date. ``days_apart`` is from the reference to each further date, where known.
        """
        made = []
        for top, left, pixels, valid in tiles:
            if not valid[0].any():
                continue
            windows = self._windows(pixels, valid)
            made.append(Tile(top, left, [one.pixels for one in windows], [one.valid for one in windows]))
        with torch.inference_mode():
            return survey_dates(made, self._transfers, self.sensor(), shape, days_apart)

    def __call__(
        self,
        image: NDArray[Any],
        pixels: Sequence[NDArray[Any]],
        valid: Sequence[NDArray[np.bool_]],
        survey: Survey,
        corner_px: tuple[int, int] = (0, 0),
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Correct one window of the reference's product.

        Parameters
        ----------
        image
            The product, DN ``(bands, scale rows, scale cols)``.
        pixels, valid
            The dates, the reference first: DN and what was measured, each ``(bands, rows, cols)``.
        survey
            As of :meth:`survey`.
        corner_px
            First row and column of the window in the scene.

        Returns
        -------
        image, weights
            DN, shaped and typed as ``image``; the same number wherever no further date is usable. The mean weight of
            each further date's pixels over the bands, ``(dates, rows, cols)``.
        """
        if not survey.used or not valid[0].any():
            return image, np.zeros((len(valid) - 1, *valid[0].shape[1:]), dtype=np.float32)
        reference, *others = self._windows(pixels, valid)

        def fine(band: int) -> NDArray[np.float32]:
            return self._reflectance(image[band], valid[0][band], reference.pixels[band], band)

        result = image.copy()
        with torch.inference_mode():
            solved = solve_correction(fine, reference, others, survey, self.sensor(), corner_px)
            # One band at a time: on the finer grid a few arrays of all would be most of a run's memory.
            for band in range(len(image)):
                change = solved.of_band(band)
                if change is not None:
                    changed = (change != 0) & self._finer(valid[0][band])
                    change += fine(band)
                    self._write(result[band], change, changed, reference.pixels[band], self.bands[band])
        return result, solved.weights

    def _reflectance(
        self, image: NDArray[Any], valid: NDArray[np.bool_], source: NDArray[np.floating], band: int
    ) -> NDArray[np.float32]:
        """One band of the product as reflectance, its ``source`` where that was not measured."""
        spec, measured = self.bands[band], self._finer(valid)
        dn = np.where(measured, image, image.dtype.type(0))[None]
        high: NDArray[np.float32] = reflectance_of(dn, [spec.scale], [spec.offset])[0]
        if not measured.all():
            np.copyto(high, self._finer(source), where=~measured, casting="same_kind")
        return high

    def _finer(self, values: NDArray[Any]) -> NDArray[Any]:
        """``(rows, cols)`` on the finer grid."""
        return values.repeat(self.card.scale, axis=0).repeat(self.card.scale, axis=1)

    def _windows(self, pixels: Sequence[NDArray[Any]], valid: Sequence[NDArray[np.bool_]]) -> list[DatedWindow]:
        """The dates' windows, the reference's first."""
        bands = (self.bands, *(self.others or (self.bands,) * (len(pixels) - 1)))
        return [self._window(*one) for one in zip(pixels, valid, bands, strict=True)]

    def _window(self, pixels: NDArray[Any], valid: NDArray[np.bool_], bands: Sequence[BandSpec]) -> DatedWindow:
        scale, offset = column([band.scale for band in bands]), column([band.offset for band in bands])
        reflectance = reflectance_of(np.where(valid, pixels, pixels.dtype.type(0)), scale, offset)
        if valid.any() and not valid.all():
            reflectance = np.asarray(fill_invalid(reflectance, valid, reach_px=_FILL_PX))
        return DatedWindow(reflectance, np.asarray(valid.all(axis=0)))

    def _write(
        self,
        out: NDArray[Any],
        high: NDArray[np.float32],
        changed: NDArray[np.bool_],
        source: NDArray[np.floating],
        band: BandSpec,
    ) -> None:
        """Put what has changed of one band into ``out``, as DN; ``high`` is reflectance, and is used up."""
        if self.card.overshoot is not None:
            bounds = plausible_range(source[None].astype(np.float32), 0, self.card.overshoot)
            low, most = (self._finer(one[0]) for one in bounds)
            np.minimum(np.maximum(high, low, out=high), most, out=high)
        high -= np.float32(band.offset)
        high /= np.float32(band.scale)
        if not np.issubdtype(out.dtype, np.integer):
            np.copyto(out, high, where=changed, casting="same_kind")
            return
        limits = np.iinfo(out.dtype)
        values = high.astype(np.float64) if out.dtype.itemsize > 2 else high
        np.rint(values, out=values)
        np.clip(values, limits.min, limits.max, out=values)
        np.copyto(out, values, where=changed, casting="unsafe")
        for nodata in band.unmeasured:
            taken = changed & (out == nodata)
            if taken.any():
                out[taken] = nearest_non_nodata(nodata, out.dtype)
