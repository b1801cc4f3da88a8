"""Detail that an upscaled image adds: its agreement between bands, and the range of values that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import ndimage
from torch import Tensor

from geosr.evaluate.real.subject import VISIBLE
from geosr.model.sensor import upsample

#: Reflectance of a DN of Sentinel-2.
DN = 1e-4

#: A value is too high when it exceeds the largest source pixel within so many by this factor.
_AROUND_PX, _TOO_HIGH = 3, 1.5

#: A vegetation index above this is none of a real surface at 10 m.
_EXTREME_INDEX = 0.98


@dataclass(frozen=True)
class Range:
    """Implausible values of an upscaled image, as written in DN."""

    floor_share: float
    """Share of values at the lowest DN."""
    source_floor_share: float
    too_high_share: float
    """Share of values above 1.5 times the largest source pixel within three pixels, of the same band."""
    extreme_index_share: float
    """Share of pixels whose vegetation index exceeds 0.98; NaN without red and infrared."""
    source_extreme_index_share: float
    largest: float
    """Reflectance."""
    source_largest: float


def agreement(sr: Tensor, lr: Tensor, bands: Sequence[str], where: np.ndarray | None = None) -> float:
    """Mean correlation between visible bands of what is added to bicubic interpolation; NaN without two of them.

    ``where`` selects source pixels, ``(rows, cols)``.
    """
    chosen = [bands.index(one) for one in VISIBLE if one in bands]
    if len(chosen) < 2:
        return float("nan")
    scale = sr.shape[1] // lr.shape[1]
    added = (sr - upsample(lr[None], scale)[0])[chosen].double().numpy()
    flat = added.reshape(len(chosen), -1) if where is None else added[:, where.repeat(scale, 0).repeat(scale, 1)]
    if (flat.std(axis=1) < 1e-9).any():
        return float("nan")
    matrix = np.corrcoef(flat)
    return float(np.mean([matrix[i, j] for i, j in combinations(range(len(chosen)), 2)]))


def value_range(sr: Tensor, lr: Tensor, bands: Sequence[str]) -> Range:
    """Values of ``sr`` that its source ``lr`` does not make plausible, both reflectance of the named bands."""
    made, source = _in_dn(sr), _in_dn(lr)
    scale = sr.shape[1] // lr.shape[1]
    side = 2 * _AROUND_PX + 1
    around = ndimage.maximum_filter(source, (1, side, side)).repeat(scale, 1).repeat(scale, 2)
    return Range(
        floor_share=float((made <= 1).mean()),
        source_floor_share=float((source <= 1).mean()),
        too_high_share=float((made > _TOO_HIGH * around).mean()),
        extreme_index_share=_extreme_share(made, bands),
        source_extreme_index_share=_extreme_share(source, bands),
        largest=float(sr.max()),
        source_largest=float(lr.max()),
    )


def _in_dn(image: Tensor) -> np.ndarray:
    """Reflectance as it is written: whole DN, none below 1, which would be nodata."""
    return np.asarray(np.rint(image.double().numpy() / DN).clip(1, 65535))


def _extreme_share(dn: np.ndarray, bands: Sequence[str]) -> float:
    if not {"B04", "B08"} <= set(bands):
        return float("nan")
    red, infrared = dn[bands.index("B04")], dn[bands.index("B08")]
    return float(((infrared - red) / (infrared + red) > _EXTREME_INDEX).mean())
