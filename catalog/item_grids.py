"""Grids of a STAC Item's bands: as the Item says, and as its files do, which are believed where the two differ."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pystac
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from catalog.errors import SourceError
from catalog.gdal import open_raster
from catalog.paths import local_path
from catalog.placing import check_placed, grid_of_raster, north_up, transform_fault
from catalog.web import patient

#: Fraction of a pixel by which the corners of an Item's grid and its file's may differ: the rounding of text.
_TOLERANCE_PX = 0.01

_CRS_FIELDS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")


def grid_of(item: pystac.Item, key: str) -> GeoBox:
    """Grid of an asset: from the projection extension, or from the file itself when the Item says nothing of use.

    Raises :class:`SourceError`.
    """
    return _told_grid(item, key) or grid_in_file(item, key)


@patient
def grid_in_file(item: pystac.Item, key: str) -> GeoBox:
    """Grid of an asset's file.

    Raises :class:`SourceError` where it has no CRS, is rotated or is placed by control points.
    """
    with open_raster(local_path(item.assets[key].href)) as raster:
        return _grid_in(raster, item, key)


def checked_grid(item: pystac.Item, key: str) -> tuple[GeoBox, str | None]:
    """Grid of an asset's file, and in what the Item says something else; None where it says the same, or nothing.

    Raises :class:`SourceError`.
    """
    found = grid_in_file(item, key)
    told = _told_grid(item, key)
    if told is not None:
        other = contradiction(told, found)
        # The Item has the shorter name for the same CRS.
        return (found if other else GeoBox(found.shape, found.affine, told.crs)), other
    fields = {**item.properties, **item.assets[key].extra_fields}
    useless = [name for name in ("proj:transform", "proj:shape") if fields.get(name) is not None]
    # Where only the CRS is missing, or unknown here, the rest may well be right.
    useless = useless if len(useless) == 2 and _crs_of(fields) is not None else []
    return found, f"{' and '.join(useless)} that are no grid" if useless else None


def contradiction(told: GeoBox, found: GeoBox) -> str | None:
    """Tell in what an Item's grid differs from its file's; None where they are the same within rounding."""
    if told.crs is None or found.crs is None or not told.crs.proj.equals(found.crs.proj, ignore_axis_order=True):
        return f"CRS {_short(told)} instead of {_short(found)}"
    if told.shape != found.shape:
        return f"{told.shape.y} × {told.shape.x} pixels instead of {found.shape.y} × {found.shape.x}"
    width, height = found.shape.x, found.shape.y
    moves = []
    for col, row in ((0, 0), (width, 0), (0, height), (width, height)):
        x, y = told.affine @ (col, row)
        there = ~found.affine @ (x, y)
        moves.append((there[0] - col, there[1] - row))
    furthest = max(moves, key=lambda move: math.hypot(*move))
    if math.hypot(*furthest) <= _TOLERANCE_PX:
        return None
    return f"a place {furthest[0]:.3g} columns and {furthest[1]:.3g} rows off"


def _told_grid(item: pystac.Item, key: str) -> GeoBox | None:
    """Grid by the projection extension; None where it is incomplete or makes no sense."""
    fields = {**item.properties, **item.assets[key].extra_fields}
    crs = _crs_of(fields)
    transform, shape = fields.get("proj:transform"), fields.get("proj:shape")
    if crs is None or transform is None or shape is None:
        return None
    try:
        height, width = int(shape[0]), int(shape[1])
        affine = Affine(*(float(value) for value in transform[:6]))
    except (TypeError, ValueError, LookupError, OverflowError):
        return None
    if height < 1 or width < 1 or transform_fault(affine) is not None:
        return None
    affine = north_up(affine, height, width)
    return None if affine.b or affine.d else GeoBox((height, width), affine, crs)


def _crs_of(fields: Mapping[str, Any]) -> CRS | None:
    """The first of an Item's CRS fields that PROJ understands."""
    for field in _CRS_FIELDS:
        value = fields.get(field)
        if isinstance(value, dict):
            value = json.dumps(value)
        if isinstance(value, bool) or not isinstance(value, str | int):
            continue
        crs = _known_crs(value)
        if crs is not None:
            return crs
    return None


@lru_cache(maxsize=256)
def _known_crs(code: str | int) -> CRS | None:
    """The CRS of a code, if PROJ understands it; for a name that it does not know, it searches a third of a second."""
    try:
        return CRS(code)
    except Exception:
        return None


def _grid_in(raster: DatasetReader, item: pystac.Item, key: str) -> GeoBox:
    check_placed(raster)
    grid = grid_of_raster(raster)
    if grid.crs is None:
        raise SourceError(f"Item {item.id}: the file of asset {key} has no CRS, so nothing tells where its pixels lie")
    return grid


def _short(grid: GeoBox) -> str:
    if grid.crs is None:
        return "none"
    code = grid.crs.to_epsg()
    return str(grid.crs)[:40] if code is None else f"EPSG:{code}"
