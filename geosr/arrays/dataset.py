"""The Dataset in which an array's result comes with its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from geosr.arrays.encoding import NODATA_ATTRIBUTES
from geosr.inference.upscaled_window import NOTHING_MEASURED
from geosr.model.card import Calibration
from geosr.run.uncertainty_layers import MEASURED_MEANING, half_width_name, meaning_of_half_width


def with_uncertainty(image: xr.DataArray, half_width: Any, measured: Any, calibration: Calibration) -> xr.Dataset:
    """``image``, ``half_width`` in its units (float32, NaN where it is nodata), and ``measured`` in percent (uint8).

    ``half_width`` is shaped as ``image``, ``measured`` as it without its bands; both NumPy or dask.
    """
    # A result without dimension for bands is one band.
    place = image.isel({image.dims[-3]: 0}, drop=True) if measured.ndim < image.ndim else image
    return xr.Dataset(
        {
            "image": image,
            "half_width": half_width_of(image, half_width, calibration),
            "measured": measured_of(place, measured),
        }
    )


def half_width_of(image: xr.DataArray, half_width: Any, calibration: Calibration) -> xr.DataArray:
    """Half-widths of an image's intervals, as an array on its coordinates."""
    attrs = _of_half_width(image.attrs, calibration)
    return _placed(xr.DataArray(half_width, image.coords, image.dims, attrs=attrs), image)


def measured_of(place: xr.DataArray, measured: Any) -> xr.DataArray:
    """Measured share of the local detail, as an array on the coordinates of one band."""
    attrs = {
        "long_name": "measured share of the local detail",
        "units": "%",
        "description": MEASURED_MEANING,
        "_FillValue": np.uint8(NOTHING_MEASURED),
    }
    return _placed(xr.DataArray(measured, place.coords, place.dims, attrs=attrs), place)


def _placed(layer: xr.DataArray, image: xr.DataArray) -> xr.DataArray:
    """Name the coordinate that holds the CRS as the image does."""
    if "grid_mapping" in image.encoding:
        layer.encoding["grid_mapping"] = image.encoding["grid_mapping"]
    return layer


def _of_half_width(attrs: dict[Any, Any], calibration: Calibration) -> dict[Any, Any]:
    """The image's attributes as far as they hold: a width has its scale, but no offset and no nodata value."""
    kept = {
        name: value for name, value in attrs.items() if name not in ("_FillValue", "nodatavals", *NODATA_ATTRIBUTES)
    }
    if "add_offset" in kept:
        kept["add_offset"] = 0.0
    if "offsets" in kept:
        kept["offsets"] = (0.0,) * len(kept["offsets"])
    described = kept.get("long_name")
    if isinstance(described, list | tuple):
        kept["long_name"] = tuple(half_width_name(str(text)) for text in described)
    elif described is not None:
        kept["long_name"] = half_width_name(str(described))
    return {**kept, "description": meaning_of_half_width(calibration), "_FillValue": np.float32(np.nan)}
