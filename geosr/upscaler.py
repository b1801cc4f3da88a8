"""From the DN of a window to super-resolved DN: fill, scale, run, mask, round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import BandSpec
from geosr.engine import Engine, EngineSpec
from geosr.model.bands import BandMapping, map_bands
from geosr.model.card import ModelCard
from geosr.model.zoo import read_card
from tiling import fill_invalid

#: Reflectance that is 1 at the input of models that have no reference of their own.
_UNIT_REFERENCE = 1.0


@dataclass(frozen=True)
class Consistency:
    """How well the result, seen through the sensor, gives the source back: sums over measured LR pixels."""

    count: tuple[int, ...]
    """Pixels, per band."""
    absolute_dn: tuple[float, ...]
    """Sum of the absolute differences, DN, per band."""


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


class Upscaler:
    """A model, ready for the bands of one scene."""

    def __init__(self, card: ModelCard, engine: Engine, bands: Sequence[BandSpec], mapping: BandMapping) -> None:
        self._engine = engine
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

    def __call__(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[NDArray[Any], Consistency]:
        """Upscale the inside of a window.

        ``pixels`` (DN) and ``valid`` are ``(bands, rows, cols)`` with a margin of ``margin_px`` on each side. Returns
        DN of the same type without the margin, ``scale`` times finer, in which nodata are exactly the pixels under
        those that are not valid, and the consistency of the inside.
        """
        margin, halo = self.margin_px, self.halo_px
        core_valid = _inside(valid, margin)
        if not core_valid.any():
            return self._finish(None, core_valid, pixels.dtype), Consistency((0,) * len(valid), (0.0,) * len(valid))
        # What was not measured may be a number that 32 bits cannot hold.
        measured_dn = np.where(valid, pixels, pixels.dtype.type(0)).astype(np.float32)
        reflectance = measured_dn * self._dn_scale + self._dn_offset
        reflectance = _inside(fill_invalid(reflectance, valid, reach_px=margin - halo), margin - halo)
        measured = _inside(valid, margin - halo)
        sr, observed = self._engine.upscale(
            self._mapping.enter(reflectance) / self._reference,
            self._mapping.enter(measured.astype(np.float32)) > 0.999,
        )
        observed = self._mapping.leave(_inside(observed, halo) * self._reference)
        residual = np.abs(observed - _inside(reflectance, halo)) / np.abs(self._dn_scale)
        consistency = Consistency(
            count=tuple(int(n) for n in core_valid.sum(axis=(1, 2))),
            absolute_dn=tuple(float(s) for s in np.where(core_valid, residual, 0).sum(axis=(1, 2), dtype=np.float64)),
        )
        sr = self._mapping.leave(_inside(sr, halo * self.scale) * self._reference)
        return self._finish((sr - self._dn_offset) / self._dn_scale, core_valid, pixels.dtype), consistency

    def _finish(self, dn: NDArray[np.float32] | None, valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Round to the source's type, and put nodata where it belongs and nowhere else."""
        bands, rows, cols = valid.shape
        out = np.empty((bands, rows * self.scale, cols * self.scale), dtype=dtype)
        for b, band in enumerate(self._bands):
            out[b] = 0 if dn is None else _to_dtype(dn[b], dtype)
            if band.nodata is None:
                continue
            out[b][out[b] == band.nodata] = _beside(band.nodata, dtype)
            invalid = ~valid[b]
            if invalid.any():
                out[b][invalid.repeat(self.scale, axis=0).repeat(self.scale, axis=1)] = band.nodata
        return out


@lru_cache(maxsize=4)
def upscaler_of(spec: ModelSpec) -> Upscaler:
    """The upscaler of a specification, built once per process.

    Raises :class:`geosr.errors.ModelError`.
    """
    # The network's library takes seconds to load: not before a source has been found good.
    from geosr.engine.torch_engine import TorchEngine
    from geosr.model.build import build

    card = read_card(spec.model)
    mapping = map_bands([band.name for band in spec.bands], card, picture=spec.picture)
    generator = build(card, [band.mtf_nyquist for band in spec.bands], picture=mapping.stands_in)
    return Upscaler(card, TorchEngine(generator, spec.engine), spec.bands, mapping)


def _inside(array: NDArray[Any], margin: int) -> NDArray[Any]:
    return array if margin == 0 else array[..., margin:-margin, margin:-margin]


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)


def _to_dtype(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _beside(nodata: float, dtype: np.dtype[Any]) -> float:
    """The value nearest to nodata that is not nodata: what a measured pixel becomes that would have equalled it."""
    if np.issubdtype(dtype, np.integer):
        return nodata - 1 if nodata == np.iinfo(dtype).max else nodata + 1
    return float(np.nextafter(dtype.type(nodata), dtype.type(np.inf)))
