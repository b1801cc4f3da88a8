"""Scale and offset that a raster declares for a band."""

from __future__ import annotations

import math

from rasterio.io import DatasetReader

#: Field of ENVI's headers by which its values are divided to be reflectance, as GDAL spells it.
_ENVI_FIELD = "reflectance_scale_factor"

#: Names of metadata, lower case, in which other formats tell scale and offset.
_METADATA = ("scale_factor", "add_offset")


def declared_scale(raster: DatasetReader, i: int) -> tuple[float, float]:
    """Read the scale and offset of a band, counted from 0: those of GDAL, or else of an ENVI header.

    They are 1 and 0 where the raster declares none.
    """
    own = float(raster.scales[i]), float(raster.offsets[i])
    if own != (1.0, 0.0):
        return own
    factor = _number(raster.tags(ns="ENVI").get(_ENVI_FIELD))
    return (1 / factor, 0.0) if factor else own


def told_in_metadata(raster: DatasetReader, i: int) -> str | None:
    """Scale and offset that only the metadata of a raster or of its band tell; None where they tell neither."""
    tags = {key.lower(): value for key, value in {**raster.tags(), **raster.tags(i + 1)}.items()}
    told = {name: value for name in _METADATA if (value := _number(tags.get(name))) is not None}
    if all(value == {"scale_factor": 1.0, "add_offset": 0.0}[name] for name, value in told.items()):
        return None
    return " and ".join(f"{name} {value:g}" for name, value in told.items())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
