"""Features of a vector file, as the fields of a farm: each with its name, and its polygon in degrees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from catalog.area import unwrap
from catalog.errors import AreaError
from catalog.vector import POLYGONS, in_degrees, read_layer


@dataclass(frozen=True)
class Feature:
    """One polygon or multipolygon."""

    id: str | int
    """Value of the column that names it, or its number in the file."""
    polygon: BaseGeometry
    """Its place, in degrees; where it crosses the antimeridian, its west is beyond 180°."""


def read_features(
    path: Path, id_column: str | None = None, layer: str | None = None, where: str | None = None
) -> list[Feature]:
    """Read the polygons of a vector file, each by itself.

    Parameters
    ----------
    path
        File, folder of a Shapefile, or zip of either, in any format and CRS that OGR reads.
    id_column
        Attribute that names them, whole numbers or text, each value once; None for their numbers in the file.
    layer
        Name of the layer; None where there is only one.
    where
        Condition on the attributes, in OGR's SQL.

    Returns
    -------
    list[Feature]
        Polygons, made valid.

    Raises
    ------
    AreaError
        The file cannot be read, has no such layer or column, no CRS, a name twice, or a feature that is no polygon.

    """
    content = read_layer(path, layer, where, [] if id_column is None else [id_column])
    ids = _ids(content.numbers if id_column is None else content.attributes[id_column], id_column, path)
    for name, shape in zip(ids, content.shapes, strict=True):
        if shape is None or shape.is_empty or shape.geom_type not in POLYGONS:
            kind = "no place" if shape is None or shape.is_empty else f"a {shape.geom_type}"
            raise AreaError(f"feature {name} of {path} is {kind}, not a polygon: choose others with --where")
        if not np.isfinite(shapely.get_coordinates(shape)).all():
            raise AreaError(f"feature {name} of {path} has coordinates that are not finite numbers")
    polygons = in_degrees([shapely.make_valid(shape) for shape in content.shapes], content.crs, path)
    return [Feature(name, unwrap(polygon)) for name, polygon in zip(ids, polygons, strict=True)]


def _ids(values: np.ndarray, column: str | None, path: Path) -> list[str | int]:
    """Names of features, whole numbers or text."""
    ids: list[str | int] = []
    for value in values:
        if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
            raise AreaError(f"a feature of {path} has no {column}: choose another --id")
        if isinstance(value, float | np.floating) and not float(value).is_integer():
            raise AreaError(f"{column} of {path} holds {value:g}: an --id is whole numbers or text")
        ids.append(int(value) if isinstance(value, int | float | np.integer | np.floating) else str(value))
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise AreaError(
            f"{len(twice)} values of {column} occur more than once in {path}, as {twice[0]}: choose an --id "
            "that names each feature once"
        )
    return ids
