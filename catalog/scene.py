"""The one kind of thing that sources become: bands on a grid, with what is needed to read and to trust them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from catalog.errors import SourceError
from catalog.sampling import BandSample

#: Pixels and validity of the same shape ``(bands, rows, cols)``.
Pixels = tuple[NDArray[Any], NDArray[np.bool_]]


class PixelReader(Protocol):
    """Where a scene's pixels come from. Readers are plain data, so that other processes can receive them."""

    def read(self, window: Window) -> Pixels:
        """DN of all bands in a window inside the scene's grid, and which of them were measured.

        Raises :class:`catalog.errors.ReadError`.
        """

    def sample(self, window: Window) -> list[BandSample]:
        """DN of each band from all over a window inside the scene's grid, see :mod:`catalog.sampling`.

        Raises :class:`catalog.errors.ReadError`.
        """

    def select(self, keep: tuple[int, ...]) -> PixelReader:
        """A reader of these bands only, by position."""


@dataclass(frozen=True)
class BandSpec:
    """One band of a scene."""

    name: str
    """ESA's name where it is one of Sentinel-2's, the source's own otherwise."""
    gsd_m: float | None
    """Ground sampling distance of its pixels, metres."""
    scale: float
    """Reflectance per DN."""
    offset: float
    """Reflectance at DN 0."""
    nodata: float | None
    """DN that marks a pixel without measurement."""
    mtf_nyquist: float | None
    """Modulation transfer of the sensor at the Nyquist frequency of this grid."""
    description: str
    """What the source calls it."""
    colour: str = "undefined"
    """Colour interpretation, lower case, as ``red``."""
    also_nodata: tuple[float, ...] = ()
    """Further DN of the source that are no measurement, as Sentinel-2's 0 beside a nodata value of the file's own."""
    role: str = ""
    """What a sensor's profile says that it is for, see :mod:`catalog.sensors`; empty when there was none."""


@dataclass(frozen=True)
class Scene:
    """Bands on one grid, from any source."""

    id: str
    bands: tuple[BandSpec, ...]
    geobox: GeoBox
    """Grid of all pixels that can be read."""
    area: Window
    """The part that was asked for."""
    dtype: str
    """NumPy name of the DN's type."""
    reader: PixelReader
    radiometry: tuple[str, ...]
    """Why DN become reflectance as they do, one reason per band."""
    identity: Mapping[str, Any]
    """What tells this source from another, or from itself after a change; plain JSON."""
    datetime: dt.datetime | None = None
    """Time of acquisition, UTC."""
    period: tuple[dt.datetime, dt.datetime] | None = None
    """Where the time itself is not known, what it lies in, as a day."""
    nodata_declared: bool = False
    """Whether the source itself declares its nodata value."""
    scaled: bool = False
    """Whether the source itself declares scale and offset."""
    picture: bool = False
    """A plain image: DN mean brightness and there need not be a CRS."""
    sources: tuple[str, ...] = ()
    """Paths or addresses that the scene is derived from."""
    rasters: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    """Identity of each file and address that pixels come from, see :mod:`catalog.identity`."""
    files: tuple[str, ...] = ()
    """Local files that are read, and must not be written."""
    notes: tuple[str, ...] = ()
    """What a user should know: assumptions made, bands left out, pixels resampled."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """STAC properties worth keeping, as platform and constellation."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The source raster's own metadata."""
    sensor: str | None = None
    """The profile of its instrument, see :mod:`catalog.sensors`; None when nobody says."""

    def __post_init__(self) -> None:
        if not self.bands:
            raise SourceError(f"{self.id} has no bands")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    def select(self, names: tuple[str, ...]) -> Scene:
        """The same scene with only these bands, in the scene's own order."""
        keep = tuple(i for i, band in enumerate(self.bands) if band.name in names)
        if len(keep) == len(self.bands):
            return self
        return replace(
            self,
            bands=tuple(self.bands[i] for i in keep),
            radiometry=tuple(self.radiometry[i] for i in keep),
            reader=self.reader.select(keep),
        )

    def noting(self, *notes: str) -> Scene:
        """The same scene with more to say."""
        return replace(self, notes=(*self.notes, *notes))
