"""Attributes of results: those of the source that hold for them, and the name of the grid mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from catalog.inherited_tags import holds_for_result
from geosr.arrays.grid import grid_mapping
from geosr.model.card import ModelCard
from geosr.run.product import detail_of

#: Attributes with a value for each band.
_PER_BAND = ("long_name", "scales", "offsets", "units", "nodatavals", "band_tags")


def attributes_of(da: xr.DataArray, chosen: Sequence[int] | None) -> dict[str, Any]:
    """Select the attributes that hold for the result, whose bands are ``chosen``; None for an image without bands."""
    attrs = {name: value for name, value in da.attrs.items() if holds_for_result(name)}
    for name in _PER_BAND:
        values = attrs.get(name)
        if not isinstance(values, list | tuple):
            continue
        if chosen is not None and len(values) == da.shape[-3]:
            attrs[name] = type(values)([_holding(values[i]) for i in chosen])
        else:
            del attrs[name]
    return attrs


def sharpness_attributes(card: ModelCard) -> dict[str, Any]:
    """Attributes by which a result of visual weights says so; none without them."""
    return {"GEOSR_SHARPNESS": card.sharpness, "GEOSR_DETAIL": detail_of(card)} if card.sharpness else {}


def set_grid_mapping(result: xr.DataArray, da: xr.DataArray) -> None:
    """Name the coordinate that holds the CRS where rioxarray and xarray look for it."""
    mapping = grid_mapping(da)
    if mapping in result.coords:
        result.encoding["grid_mapping"] = mapping
        result.attrs.pop("grid_mapping", None)


def _holding(value: Any) -> Any:
    """A band's own metadata, but for what does not hold for the result."""
    return {name: own for name, own in value.items() if holds_for_result(name)} if isinstance(value, dict) else value
