"""Normalised differences of two bands, and the half-width that errors of the bands give them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Band that all indices have, of the finest pixels: texture is measured in it.
SHARP_BAND = "B08"

#: Least sum of two reflectances that is divided by.
_LEAST_SUM = 1e-3


@dataclass(frozen=True)
class SpectralIndex:
    """``(first - second) / (first + second)`` of two bands."""

    name: str
    first: str
    second: str
    model: str
    """Model of the zoo that has both bands."""
    less: str
    """Meaning of a decrease."""
    more: str
    """Meaning of an increase."""
    doubtful: tuple[float, float] | None = None
    """Values between which ground may be of either kind, as land or water. A pixel that stays below or above has kept
    its kind and is unchanged. None where a difference alone is change."""

    @property
    def bands(self) -> tuple[str, str]:
        return self.first, self.second

    def of(self, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the index of ``(2, rows, cols)`` reflectance, the first band first.

        Reflectance below 0 counts as 0, so that the index stays between -1 and 1.
        """
        first, second = np.maximum(reflectance, 0)
        index: NDArray[np.float32] = (first - second) / np.maximum(first + second, _LEAST_SUM)
        return index

    def crossed(
        self, before: NDArray[np.float32], after: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Pixels whose decrease, and pixels whose increase of the index may be change."""
        if self.doubtful is None:
            everywhere = np.ones(before.shape, bool)
            return everywhere, everywhere
        low, high = self.doubtful
        return (before >= low) & (after < high), (before < high) & (after >= low)

    def stayed(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels that are wholly of the upper kind on both dates, as water, and so no part of a change.

        Those of the lower kind are none: a pixel that is half under water is still below.
        """
        if self.doubtful is None:
            return np.zeros(before.shape, bool)
        high = self.doubtful[1]
        return (before >= high) & (after >= high)

    def half_width(self, reflectance: NDArray[np.float32], half_widths: NDArray[np.float32]) -> NDArray[np.float32]:
        """Carry the bands' half-widths, both ``(2, rows, cols)``, to the index, as independent errors of its bands."""
        first, second = np.maximum(reflectance, 0)
        total = np.maximum(first + second, _LEAST_SUM)
        width: NDArray[np.float32] = 2 * np.hypot(second * half_widths[0], first * half_widths[1]) / total**2
        return width


INDICES = {
    one.name: one
    for one in (
        # Water is above 0 (McFeeters, 1996), as some roofs and roads are; above 0.2 it is hardly anything else.
        SpectralIndex("ndwi", "B03", "B08", "rgbn-x4", "less water", "more water", doubtful=(0.0, 0.2)),
        SpectralIndex("ndvi", "B08", "B04", "rgbn-x4", "less vegetation", "more vegetation"),
        SpectralIndex("nbr", "B08", "B12", "s2-ten-x4", "burned", "regrown"),
        SpectralIndex("ndbi", "B11", "B08", "s2-ten-x4", "less built-up or bare", "more built-up or bare"),
    )
}
