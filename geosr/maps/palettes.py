"""Colours of single bands: indices, uncertainty, measured share and change.

Diverging and sequential schemes are those of ColorBrewer (Harrower and Brewer 2003), uncertainty's is matplotlib's
magma (Smith and van der Walt 2015) at nine places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Palette:
    """Colours at even steps over a range of values."""

    title: str
    low: float
    high: float
    colours: tuple[str, ...]
    """From the lowest value to the highest, as ``#a50026``."""

    def steps(self) -> list[tuple[float, str]]:
        """Values and their colours."""
        values = np.linspace(self.low, self.high, len(self.colours))
        return [(float(f"{value:.6g}"), colour) for value, colour in zip(values, self.colours, strict=True)]

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Interpolated colours of ``(rows, cols)`` as ``(3, rows, cols)``."""
        at = np.linspace(self.low, self.high, len(self.colours))
        table = np.array([[int(colour[i : i + 2], 16) for colour in self.colours] for i in (1, 3, 5)])
        channels = [np.interp(values, at, channel) for channel in table]
        return np.rint(channels).astype(np.uint8)


_RED_YELLOW_GREEN = (
    *("#a50026", "#d73027", "#f46d43", "#fdae61", "#fee08b", "#ffffbf"),
    *("#d9ef8b", "#a6d96a", "#66bd63", "#1a9850", "#006837"),
)
_RED_YELLOW_BLUE = (
    *("#a50026", "#d73027", "#f46d43", "#fdae61", "#fee090", "#ffffbf"),
    *("#e0f3f8", "#abd9e9", "#74add1", "#4575b4", "#313695"),
)
_PURPLE_ORANGE = (
    *("#7f3b08", "#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7"),
    *("#d8daeb", "#b2abd2", "#8073ac", "#542788", "#2d004b"),
)
_MAGMA = ("#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf")
_GREENS = ("#f7fcf5", "#e5f5e0", "#c7e9c0", "#a1d99b", "#74c476", "#41ab5d", "#238b45", "#006d2c", "#00441b")

PALETTES = {
    "ndvi": Palette("NDVI", -0.2, 1.0, _RED_YELLOW_GREEN),
    "ndwi": Palette("NDWI", -0.8, 0.8, _RED_YELLOW_BLUE),
    "ndre": Palette("NDRE", -0.2, 0.8, _RED_YELLOW_GREEN),
    "nbr": Palette("NBR", -0.5, 1.0, _RED_YELLOW_GREEN),
    "ndbi": Palette("NDBI", -0.6, 0.6, _PURPLE_ORANGE[::-1]),
    "uncertainty": Palette("half-width of reflectance", 0.0, 0.05, _MAGMA),
    "measured": Palette("measured share of the local detail, %", 0.0, 100.0, _GREENS),
    "change": Palette("change of an index", -0.5, 0.5, _PURPLE_ORANGE),
}
