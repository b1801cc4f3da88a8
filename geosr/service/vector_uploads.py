"""Uploaded vector files: what is refused before GDAL opens them, and their polygons in degrees.

A GeoJSON is written anew with nothing but shapes, for its CRS could be an address, which GDAL would fetch. A GeoPackage
is a database: views and computed columns, which can compute without end when they are read, are refused.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import shapely
from pydantic import ValidationError

from catalog.features import Feature, read_features
from geosr.service.geojson import FIELDS, SurfaceFeature, told
from geosr.service.problems import Problem

MOST_BYTES = 16 * 2**20

#: Fields of one file, and points of all their outlines.
_MOST_FIELDS = 5_000
_MOST_POINTS = 500_000

_SQLITE = b"SQLite format 3\x00"


def fields_of(path: Path, id_column: str | None) -> list[Feature]:
    """The polygons of an uploaded GeoJSON or GeoPackage, which is renamed or written anew beside it.

    Raises :class:`Problem`, or :class:`catalog.AreaError`.
    """
    with path.open("rb") as file:
        beginning = file.read(len(_SQLITE))
    clean = path.with_name(f"{path.name}.{'gpkg' if beginning == _SQLITE else 'geojson'}")
    try:
        if beginning == _SQLITE:
            _check_geopackage(path)
            path.replace(clean)
        else:
            clean.write_text(json.dumps(_geojson(path.read_bytes(), id_column)), encoding="utf-8")
        fields = read_features(clean, id_column)
    finally:
        clean.unlink(missing_ok=True)
    points = sum(shapely.count_coordinates(field.polygon) for field in fields)
    if len(fields) > _MOST_FIELDS or points > _MOST_POINTS:
        raise Problem(
            413,
            f"the file has {len(fields)} fields of {points} points: up to {_MOST_FIELDS} of {_MOST_POINTS} are taken",
        )
    return fields


def _geojson(content: bytes, id_column: str | None) -> dict[str, Any]:
    """Shapes of a GeoJSON, with the column that names them. Raises :class:`Problem`."""
    try:
        read = FIELDS.validate_json(content)
    except ValidationError as error:
        raise Problem(415, f"the upload is neither GeoJSON of polygons nor a GeoPackage: {told(error)}") from error
    features = [read] if isinstance(read, SurfaceFeature) else read.features
    if id_column and not all(id_column in (one.properties or {}) for one in features):
        raise Problem(409, f"the fields have no {id_column[:80]!r}")
    made: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": one.geometry.model_dump(),
                "properties": {id_column: (one.properties or {})[id_column]} if id_column else {},
            }
            for one in features
        ],
    }
    crs = None if isinstance(read, SurfaceFeature) else read.crs
    return made if crs is None else {**made, "crs": crs.model_dump()}


def _check_geopackage(path: Path) -> None:
    """Refuse a database that is more than tables. Raises :class:`Problem`."""
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        # Names that are no UTF-8 are refused by who reads the shapes.
        database.text_factory = lambda text: text.decode(errors="replace")
        try:
            rows = database.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchmany(1000)
        finally:
            database.close()
    # The message of an error of SQLite's may hold bytes of the file.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise Problem(415, "the upload is not a GeoPackage that can be read") from error
    for kind, name, statement in rows:
        words = " ".join(str(statement).lower().split())
        virtual = words.startswith("create virtual") and not str(name).startswith("rtree_")
        if kind == "view" or virtual or " as (" in words or "generated" in words:
            raise Problem(415, f"the GeoPackage computes {str(name)[:80]} when it is read: give one with plain tables")
