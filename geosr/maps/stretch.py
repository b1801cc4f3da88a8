"""Stretch of DN to the 8 bits of a display: linear between two limits, then a gamma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.before_after import CLIPPED, GAMMA
from geosr.errors import UsageError
from geosr.maps.raster import Shown


@dataclass(frozen=True)
class Stretch:
    """Limits of the DN that are shown, the same for all bands, so that colours stay those of the ground."""

    low: float
    high: float
    gamma: float = GAMMA

    def __str__(self) -> str:
        return f"DN {self.low:g} to {self.high:g} as 1 to 255, gamma {self.gamma:g}; 0 is nodata"

    def __call__(self, shown: Shown) -> NDArray[np.uint8]:
        """Bytes ``(bands, rows, cols)`` of 1 to 255, 0 where nothing was measured."""
        share = np.clip((shown.pixels - self.low) / max(self.high - self.low, 1e-9), 0, 1) ** (1 / self.gamma)
        return np.where(shown.valid, 1 + np.rint(share * 254), 0).astype(np.uint8)

    @classmethod
    def measured(cls, shown: Shown) -> Stretch:
        """Limits of the darkest and brightest percent of all bands together."""
        if not shown.valid.any():
            return cls(0.0, 1.0)
        low, high = np.percentile(shown.pixels[:, shown.valid], CLIPPED)
        return cls(float(f"{low:.4g}"), float(f"{max(high, low + 1e-6):.4g}"))

    @classmethod
    def parse(cls, text: str) -> Stretch:
        """Limits from a text, ``300,2800``. Raises :class:`UsageError`."""
        try:
            low, high = (float(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"{text!r} is no stretch: give the lowest and the highest DN, as 300,2800") from None
        if not (np.isfinite([low, high]).all() and low < high):
            raise UsageError(f"the stretch {text} is empty: give the lowest and the highest DN, as 300,2800")
        return cls(low, high)
