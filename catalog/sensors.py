"""Sensor profiles: what is known of an instrument's bands, and of the DN that it is delivered in.

A profile is a YAML file: those in ``profiles`` ship with the package, others are named by their path. It says what a
raster leaves unsaid: the names of its bands, how DN become reflectance, how blurred they are. What a raster says itself
of these is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from catalog import sentinel2
from catalog.bounded_yaml import load_yaml
from catalog.errors import RequestError

#: What bands are for, whatever an instrument calls them: the common names of STAC's eo extension.
Role = Literal[
    "pan",
    "coastal",
    "blue",
    "green05",
    "green",
    "yellow",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir",
    "nir08",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
]

_FOLDER = Path(__file__).parent / "profiles"


class _StrictProfile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SensorBand(_StrictProfile):
    """One band of an instrument."""

    name: str = Field(min_length=1)
    """Name of the band in the maker's documents."""
    role: Role
    """Bands of two instruments with the same role show the same colour."""
    gsd_m: float | None = Field(default=None, gt=0)
    """Ground sampling distance of its delivered pixels, metres; None when that may be anything."""
    mtf_nyquist: float = Field(gt=0, lt=1)
    """Modulation transfer at the Nyquist frequency of its own grid."""
    noise_reflectance: float | None = Field(default=None, gt=0)
    """Standard deviation of the noise on calm, dark ground, reflectance; None when nobody has measured it."""
    aliases: tuple[str, ...] = ()
    """Other names by which catalogues and files call it; capitals do not matter."""


class SensorProfile(_StrictProfile):
    """An instrument, in the product that it is usually delivered as."""

    name: str = Field(min_length=1)
    """Name of the profile."""
    title: str = Field(min_length=1)
    """Instrument and product."""
    bands: tuple[SensorBand, ...] = Field(min_length=1)
    """In the order in which files without names hold them."""
    scale: float | None = None
    """Reflectance per DN of integers of 16 and more bits; None when that differs from file to file."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Reflectance at DN 0."""
    nodata: float | None = None
    """DN of pixels without measurement."""
    optional: tuple[str, ...] = ()
    """Bands that some of its products lack; files without names may lack all of them."""

    @model_validator(mode="after")
    def _check(self) -> SensorProfile:
        if self.scale is not None and not (0 < self.scale < float("inf")):
            raise ValueError("scale is above 0")
        texts = [text for band in self.bands for text in dict.fromkeys(map(_plain, (band.name, *band.aliases)))]
        twice = sorted({text for text in texts if texts.count(text) > 1})
        if twice:
            raise ValueError(f"bands share the name {', '.join(twice)}")
        if not set(self.optional) <= {band.name for band in self.bands}:
            raise ValueError("optional names a band that is none of bands")
        roles = [band.role for band in self.bands]
        if len(set(roles)) < len(roles):
            raise ValueError("bands share a role")
        return self

    def order_of(self, count: int) -> tuple[str, ...] | None:
        """Name the bands of a file that does not name them.

        Parameters
        ----------
        count
            Number of bands of the file.

        Returns
        -------
        tuple[str, ...] | None
            Names in the file's order; None if no order of the profile has so many bands.

        """
        every = tuple(band.name for band in self.bands)
        usual = tuple(name for name in every if name not in self.optional)
        return next((names for names in (every, usual) if len(names) == count), None)

    def band(self, text: str) -> SensorBand | None:
        """Find a band by its name, an alias or its role.

        Parameters
        ----------
        text
            Name in a file or of a user; capitals do not matter.

        Returns
        -------
        SensorBand | None
            None if the profile has no such band.

        """
        called = _plain(text)
        named = (band for band in self.bands if called in map(_plain, (band.name, *band.aliases)))
        return next(named, None) or next((band for band in self.bands if band.role == called), None)


def sensor_names() -> list[str]:
    """List the sensor profiles of the package.

    Returns
    -------
    list[str]
        Names in alphabetical order.

    """
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_sensor(name: str) -> SensorProfile:
    """Read a sensor profile.

    Parameters
    ----------
    name
        Name of a profile of the package, or path of a YAML file.

    Returns
    -------
    SensorProfile
        The profile.

    Raises
    ------
    RequestError
        The profile does not exist or is malformed; the message names the first wrong field.

    Examples
    --------
    >>> read_sensor("landsat-oli").band("B4").role
    'red'

    """
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        return _read(Path(name))
    if name not in sensor_names():
        raise RequestError(
            f"no sensor {name}: there are {', '.join(sensor_names())}, or give the path of a profile (.yaml)"
        )
    return _shipped(name)


def role_of(band: str, sensor: str | None) -> Role | None:
    """Return the role of a band by its name in a sensor's products (Sentinel-2's if no sensor is named).

    None for an unknown band or sensor.
    """
    name = "sentinel-2" if sensor is None else sensor
    found = _shipped(name).band(band) if name in sensor_names() else None
    return None if found is None else found.role


def band_name(text: str, sensor: SensorProfile | None) -> str | None:
    """A sensor's name for a band called ``text``; ESA's, when no sensor is named."""
    if sensor is None or sensor.name == "sentinel-2":
        return sentinel2.band_name(text)
    found = sensor.band(text)
    return None if found is None else found.name


def counterparts(bands: Sequence[str], of: str | None, sensor: SensorProfile | None) -> tuple[str, ...]:
    """The bands of ``sensor`` (ESA's, when None) that are for the same as these ``bands`` of the profile ``of``.

    Raises :class:`RequestError` where the sensor has none for one of them.
    """
    if (of or "sentinel-2") == ("sentinel-2" if sensor is None else sensor.name):
        return tuple(bands)
    profile = _shipped("sentinel-2") if sensor is None else sensor
    found = []
    for band in bands:
        role = role_of(band, of)
        name = next((own.name for own in profile.bands if own.role == role), None)
        if name is None:
            raise RequestError(
                f"{profile.name} has no band for {of or 'sentinel-2'}'s {band}: choose among its bands with --bands, "
                f"{', '.join(own.name for own in profile.bands)}"
            )
        found.append(name)
    return tuple(found)


def known_bands(sensor: SensorProfile | None) -> tuple[str, ...]:
    """All names that :func:`band_name` gives."""
    return tuple(sentinel2.BANDS) if sensor is None else tuple(band.name for band in sensor.bands)


@lru_cache(maxsize=32)
def _shipped(name: str) -> SensorProfile:
    return _read(_FOLDER / f"{name}.yaml")


def _read(path: Path) -> SensorProfile:
    try:
        content: Any = load_yaml(path.read_text(encoding="utf-8"))
        return SensorProfile.model_validate(content)
    except OSError as error:
        raise RequestError(f"cannot read the sensor profile {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{path} is not a sensor profile: {where + ': ' if where else ''}{first['msg']}") from error
    except RecursionError as error:
        raise RequestError(f"{path} is not a sensor profile: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        # Dates that are none and numbers of thousands of digits are no errors of YAML's.
        raise RequestError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _plain(text: str) -> str:
    return text.strip().lower()
