"""The configuration of a pair set: what a YAML file may say, checked when it is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog import DEFAULT_API, DEFAULT_COLLECTION
from catalog.sentinel2 import BANDS
from geosr.configuration import read_yaml
from geosr.errors import PairsError
from geosr.model.kernels import SQUARE_PIXEL_MTF


class _StrictPairs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetBand(_StrictPairs):
    """Place of a band in a STAC Item."""

    asset: str
    """Key of the asset."""
    band: int = Field(default=1, ge=1)
    """Number of the band in the asset's raster."""


class Search(_StrictPairs):
    """Items of a STAC API."""

    bbox: tuple[float, float, float, float]
    """West, south, east and north, degrees: where to search, and what is used of what is found."""
    datetime: str
    """When, as ``2024-06-01/2024-08-31``."""
    api: str = DEFAULT_API
    collection: str = DEFAULT_COLLECTION
    max_cloud: float = Field(default=100, ge=0, le=100)
    """Highest cloud cover, percent."""


class Imagery(_StrictPairs):
    """The images of one of the two sensors: files, Items, or a search for Items."""

    sources: tuple[str, ...] = ()
    """Rasters, ``.SAFE`` products and STAC Items: patterns of files in the data folder, or addresses."""
    search: Search | None = None
    bands: tuple[str, ...] | None = None
    """Names of the bands of rasters that do not name them, in the raster's order; ``-`` leaves one out."""
    assets: dict[str, AssetBand] = {}
    """For each band, where Items hold it; bands that are named in the usual ways are found without."""
    datetime: str | None = None
    """When rasters were taken, as ``2024-06-01``; Items and products say so themselves."""
    scale: float | None = None
    """Reflectance per DN, where the source does not say or is wrong."""
    offset: float | None = None
    """Reflectance at DN 0, likewise."""
    plain_image: bool = False
    """Rasters hold brightness: DN 255 of bytes becomes 1."""
    nodata: float | None = None
    """A DN without measurement, besides those that the source declares."""
    mask_clouds: bool | None = None
    """Leave out what the scene classification calls cloud, shadow or saturated; by default where there is one."""
    classes: str | None = None
    """The scene classification (SCL) of rasters: a file in the data folder, on any grid."""

    @model_validator(mode="after")
    def _names_something(self) -> Imagery:
        if bool(self.sources) == (self.search is not None):
            raise ValueError("give sources, or a search for them, and not both")
        return self


class Surface(_StrictPairs):
    """The smooth model of the shifts over a scene."""

    order: int = Field(default=2, ge=0, le=3)
    """Order of the polynomial in rows and columns; less where there are too few patches for it."""
    max_error_px: float = Field(default=0.1, gt=0)
    """Shifts with a larger standard error, LR pixels, are not used."""
    min_correlation: float = Field(default=0.5, ge=0, le=1)
    """Nor those of patches that correlate less at their shift."""


class Screening(_StrictPairs):
    """Conditions for a patch to be kept."""

    min_valid: float = Field(default=0.9, gt=0, le=1)
    """Share of LR pixels that both sensors measured, without clouds, holes and saturation."""
    max_residual_px: float = Field(default=0.25, gt=0)
    """Length of the shift that is left, LR pixels."""
    max_error_px: float = Field(default=0.1, gt=0)
    """Standard error of that shift, LR pixels: patches of flat ground show none."""
    min_correlation: float = Field(default=0.8, ge=0, le=1)
    """Least correlation of LR with the observed HR, in every band."""
    changed_above: float = Field(default=0.3, gt=0)
    """A pixel has changed where LR and the harmonised, observed HR differ by more than this share of the patch's mean
    in any band."""
    max_changed: float = Field(default=0.03, ge=0, le=1)
    """Share of pixels that may have changed."""


class PairsConfig(_StrictPairs):
    """One pair set."""

    name: str
    bands: tuple[str, ...] = Field(min_length=1)
    """Bands in the set's order, by the names of :mod:`catalog.sentinel2` or the sources' own."""
    scale: int = Field(default=4, ge=2, le=8)
    """Ratio of the LR grid's pixels to those of the HR patches."""
    mtf_nyquist: tuple[float, ...] | None = None
    """Modulation transfer of the LR sensor at Nyquist, per band; by default that of Sentinel-2's bands."""
    lr: Imagery
    hr: Imagery
    max_days: float | None = Field(default=5, ge=0)
    """Most days between the two; None for any number. Where a date is not known it is not asked for."""
    lr_per_hr: int = Field(default=1, ge=1)
    """With how many LR scenes an HR scene is paired, the nearest in time first."""
    patch_lr_px: int = Field(default=64, ge=16, le=512)
    """Side of a patch, LR pixels."""
    max_shift_px: float = Field(default=4, gt=0, le=16)
    """Largest shift between the sensors that is looked for, LR pixels."""
    surface: Surface = Surface()
    screening: Screening = Screening()
    patches_per_shard: int = Field(default=64, ge=1)

    @field_validator("mtf_nyquist")
    @classmethod
    def _is_a_transfer(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and not all(0 < mtf < 1 for mtf in value):
            raise ValueError("each transfer lies between 0 and 1")
        return value

    @model_validator(mode="after")
    def _fits(self) -> PairsConfig:
        if self.mtf_nyquist is not None and len(self.mtf_nyquist) != len(self.bands):
            raise ValueError("mtf_nyquist has one number for each of the bands")
        if len(set(self.bands)) < len(self.bands):
            raise ValueError("bands names one twice")
        return self

    @property
    def transfers(self) -> tuple[float, ...]:
        """Modulation transfer of the LR sensor at Nyquist, per band; of sensors not known that of a square pixel."""
        if self.mtf_nyquist is not None:
            return self.mtf_nyquist
        known = (BANDS[band].mtf_nyquist if band in BANDS else None for band in self.bands)
        return tuple(SQUARE_PIXEL_MTF if mtf is None else mtf for mtf in known)


def read_config(path: Path) -> PairsConfig:
    """Read and check a YAML file, see :func:`geosr.configuration.read_yaml`. Raises :class:`PairsError`."""
    return read_yaml(path, PairsConfig, PairsError)
