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
    """Source of a scene's pixels. Readers are plain data, so that other processes can receive them."""

    def read(self, window: Window) -> Pixels:
        """Read all bands in a window.

        Parameters
        ----------
        window
            Window inside the scene's grid, pixels.

        Returns
        -------
        Pixels
            DN, and True where a pixel was measured; both ``(bands, rows, cols)``.

        Raises
        ------
        ReadError
            The pixels cannot be read.

        """

    def sample(self, window: Window) -> list[BandSample]:
        """Read a sample of each band from all over a window, see :mod:`catalog.sampling`.

        Parameters
        ----------
        window
            Window inside the scene's grid, pixels.

        Returns
        -------
        list[BandSample]
            DN of each band.

        Raises
        ------
        ReadError
            The pixels cannot be read.

        """

    def select(self, keep: tuple[int, ...]) -> PixelReader:
        """Keep only some bands.

        Parameters
        ----------
        keep
            Positions of the bands.

        Returns
        -------
        PixelReader
            Reader of these bands.

        """


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
    """Name of the band in the source."""
    colour: str = "undefined"
    """Colour interpretation, lower case, as ``red``."""
    also_nodata: tuple[float, ...] = ()
    """Further DN of the source that are no measurement, as Sentinel-2's 0 beside a nodata value of the file's own."""
    role: str = ""
    """Role of the band in its sensor profile, see :mod:`catalog.sensors`; empty without a profile."""

    @property
    def conversion(self) -> str:
        """Text that tells what a DN is, as ``reflectance = DN * 0.0001 - 0.1``."""
        return f"reflectance = DN * {self.scale:g} {'-' if self.offset < 0 else '+'} {abs(self.offset):g}"

    @property
    def unmeasured(self) -> tuple[float, ...]:
        """All DN that are no measurement."""
        return (() if self.nodata is None else (self.nodata,)) + self.also_nodata


@dataclass(frozen=True)
class Scene:
    """Bands on one grid, from any source."""

    id: str
    """Name of the scene."""
    bands: tuple[BandSpec, ...]
    """Bands in the source's order."""
    geobox: GeoBox
    """Grid of all pixels that can be read."""
    area: Window
    """The part that was asked for."""
    dtype: str
    """NumPy name of the DN's type."""
    reader: PixelReader
    """Source of the pixels."""
    radiometry: tuple[str, ...]
    """Why DN become reflectance as they do, one reason per band."""
    identity: Mapping[str, Any]
    """Distinguishes this source from others, and from itself after a change; plain JSON."""
    datetime: dt.datetime | None = None
    """Time of acquisition, UTC."""
    period: tuple[dt.datetime, dt.datetime] | None = None
    """Period that contains the time of acquisition, such as a day, if the time itself is not known."""
    nodata_declared: bool = False
    """True if the source itself declares its nodata value."""
    scaled: bool = False
    """True if the source itself declares scale and offset."""
    plain_image: bool = False
    """A plain image: DN mean brightness and there need not be a CRS."""
    sources: tuple[str, ...] = ()
    """Paths or addresses that the scene is derived from."""
    rasters: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    """Identity of each file and address that pixels come from, see :mod:`catalog.identity`."""
    files: tuple[str, ...] = ()
    """Local files that are read, and must not be written."""
    notes: tuple[str, ...] = ()
    """Messages for the user: assumptions made, bands left out, pixels resampled."""
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
        """Keep only some bands.

        Parameters
        ----------
        names
            Names of the bands to keep.

        Returns
        -------
        Scene
            Scene with these bands, in the scene's own order.

        """
        keep = tuple(i for i, band in enumerate(self.bands) if band.name in names)
        if len(keep) == len(self.bands):
            return self
        return self.take(keep)

    def take(self, positions: tuple[int, ...]) -> Scene:
        """Keep bands by their positions.

        Parameters
        ----------
        positions
            Positions of the bands to keep, from 0, in the order that they are to have.

        Returns
        -------
        Scene
            Scene with these bands.

        """
        return replace(
            self,
            bands=tuple(self.bands[i] for i in positions),
            radiometry=tuple(self.radiometry[i] for i in positions),
            reader=self.reader.select(positions),
        )

    def with_warnings(self, *notes: str) -> Scene:
        """Add notes for the user.

        Parameters
        ----------
        *notes
            Sentences to add.

        Returns
        -------
        Scene
            Scene with the notes.

        """
        return replace(self, notes=(*self.notes, *notes))
