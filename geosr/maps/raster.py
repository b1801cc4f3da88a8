"""A raster as a map shows it: its bands by what they are for, and its pixels at the size of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from catalog.gdal import colours_of, open_raster
from catalog.sensors import role_of
from catalog.sentinel2 import band_name
from geosr.errors import UsageError
from geosr.maps.on_grid import read_measured
from geosr.run.uncertainty_layers import half_width_name, reflectance_per_dn

#: Bands of combinations and of normalised differences, by their roles.
TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green")
INDICES = {
    "ndvi": ("nir", "red"),
    "ndwi": ("green", "nir"),
    "ndre": ("nir", "rededge071"),
    "nbr": ("nir", "swir22"),
    "ndbi": ("swir16", "nir"),
}


#: Ending of the names of half-widths, which are shown as their bands.
_OF_HALF_WIDTHS = half_width_name("")


@dataclass(frozen=True)
class MapRaster:
    """Form of a raster."""

    path: str
    names: tuple[str, ...]
    """Description of each band, or its number where it has none."""
    roles: tuple[str, ...]
    """Role of each band, as ``red``; empty where nothing tells."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    """``value = DN * scale + offset``, as GDAL and QGIS apply them."""
    reflectance_per_value: tuple[float, ...]
    """Reflectance of a half-width whose value is 1; 1 where the scale makes it reflectance, or nothing tells."""

    @classmethod
    def of(cls, path: str) -> MapRaster:
        """Read the form of a raster. Raises :class:`catalog.CatalogError`."""
        with open_raster(path) as raster:
            return cls.of_open(path, raster)

    @classmethod
    def of_open(cls, path: str, raster: DatasetReader) -> MapRaster:
        """Read the form of a raster that is open. Raises :class:`UsageError` for complex numbers."""
        names = tuple(text or str(i + 1) for i, text in enumerate(raster.descriptions))
        if any(dtype.startswith("complex") for dtype in raster.dtypes):
            raise UsageError(f"{path} holds complex numbers, not an image")
        colours = [colour.name for colour in colours_of(raster)]
        told = reflectance_per_dn(raster.tags())
        return cls(
            path=path,
            names=names,
            roles=tuple(map(_role, names, colours)),
            scales=tuple(raster.scales),
            offsets=tuple(raster.offsets),
            reflectance_per_value=(
                tuple(per_dn / scale for per_dn, scale in zip(told, raster.scales, strict=True))
                if told is not None and len(told) == raster.count and all(raster.scales)
                else (1.0,) * raster.count
            ),
        )

    def with_roles(self, roles: Sequence[str]) -> tuple[int, ...] | None:
        """Numbers of the bands with these roles, from 1; None where one is missing."""
        if not set(roles) <= set(self.roles):
            return None
        return tuple(self.roles.index(role) + 1 for role in roles)

    def shown(self, bands: str | None = None) -> tuple[int, ...]:
        """Numbers of three bands that are shown as red, green and blue, or of one in grey.

        ``bands`` names them, as ``B08,B04,B03``; by default they are the visible ones.

        Raises :class:`UsageError` for names that the raster does not have.
        """
        if bands is None:
            natural = self.with_roles(TRUE_COLOUR)
            return natural or ((1, 2, 3) if len(self.names) >= 3 else (1,))
        asked = [part.strip() for part in bands.split(",")]
        if len(asked) not in (1, 3):
            raise UsageError(f"{bands!r} are {len(asked)} bands: name three, for red, green and blue, or one")
        return tuple(self._number_of(name) for name in asked)

    def index(self, name: str) -> tuple[int, ...]:
        """Numbers of the two bands of a normalised difference. Raises :class:`UsageError` where it lacks one."""
        if name not in INDICES:
            raise UsageError(f"there is no index {name!r}: known are {', '.join(INDICES)}")
        found = self.with_roles(INDICES[name])
        if found is None:
            raise UsageError(
                f"{name} needs the bands {' and '.join(INDICES[name])}, and {self.path} has {', '.join(self.names)}"
            )
        return found

    def _number_of(self, name: str) -> int:
        wanted = band_name(name) or name
        for i, own in enumerate(self.names):
            if name in (own, str(i + 1)) or wanted == (band_name(own) or own):
                return i + 1
        raise UsageError(f"{self.path} has no band {name!r} among {', '.join(self.names)}")


@dataclass(frozen=True)
class Shown:
    """Pixels of some bands."""

    pixels: NDArray[np.float32]
    """DN, ``(bands, rows, cols)``."""
    valid: NDArray[np.bool_]
    """``(rows, cols)``: measured in every band."""


def read_shown(path: str, numbers: Sequence[int], longest_px: int | None = None) -> Shown:
    """Read bands, averaged to at most ``longest_px`` pixels a side. Raises :class:`catalog.CatalogError`."""
    with open_raster(path) as raster:
        return read_pixels(raster, numbers, longest_px)


def read_pixels(
    raster: DatasetReader, numbers: Sequence[int], longest_px: int | None = None, window: Window | None = None
) -> Shown:
    """Read bands of an open raster, as :func:`read_shown`; of a window where one is given."""
    whole = window or Window(0, 0, raster.width, raster.height)
    share = 1.0 if longest_px is None else min(1.0, longest_px / max(whole.width, whole.height))
    rows, cols = (max(1, round(side * share)) for side in (whole.height, whole.width))
    image = read_measured(raster, numbers, whole, (rows, cols), Resampling.average)
    pixels = image.filled(0).astype(np.float32)
    valid = ~np.ma.getmaskarray(image).any(axis=0) & np.isfinite(pixels).all(axis=0)
    return Shown(np.where(valid, pixels, 0).astype(np.float32), valid)


def _role(name: str, colour: str) -> str:
    """Role of a band by its name, or by its colour interpretation."""
    known = band_name(name.removesuffix(_OF_HALF_WIDTHS).strip())
    role = None if known is None else role_of(known, None)
    return role or (colour if colour in TRUE_COLOUR else "")
