"""Areas of interest from whatever OGR reads: GeoPackage, Shapefile, KML, FlatGeobuf, GeoParquet, GeoJSON with a CRS.

Polygons come out in longitude and latitude. What is GeoJSON in degrees is read by :mod:`catalog.area` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from catalog.errors import AreaError

#: Pieces of an area's longer side, at whose ends edges may bend when they are projected.
_PIECES = 256

#: Layers that a message names.
_LISTED = 12

POLYGONS = ("Polygon", "MultiPolygon")


def read_polygons(path: Path, layer: str | None = None, where: str | None = None) -> list[BaseGeometry]:
    """Read the polygons of a vector file in degrees.

    Parameters
    ----------
    path
        File, folder of a Shapefile, or zip of either.
    layer
        Name of the layer; None where there is only one.
    where
        Condition on the attributes, in OGR's SQL, as ``crop = 'wheat' AND area > 2``.

    Returns
    -------
    list[BaseGeometry]
        Polygons and multipolygons.

    Raises
    ------
    AreaError
        The file cannot be read, has no such layer, no CRS or no polygon.

    """
    content = read_layer(path, layer, where)
    found = [shape for shape in content.shapes if shape is not None]
    polygons = [shape for shape in found if shape.geom_type in POLYGONS and not shape.is_empty]
    if not polygons:
        kinds = ", ".join(sorted({shape.geom_type for shape in found})) or "nothing that is a shape"
        raise AreaError(
            f"the layer {content.name} of {path} holds no polygon: an area of interest needs one, it has {kinds}"
        )
    return in_degrees(polygons, content.crs, path)


@dataclass(frozen=True)
class LayerContent:
    """Features of one layer of a vector file."""

    name: str
    crs: str
    numbers: NDArray[np.int64]
    """Number of each feature in the file."""
    shapes: list[BaseGeometry | None]
    """Shape of each feature in the layer's CRS; None where it has none that can be read."""
    attributes: dict[str, NDArray[Any]]
    """Values of each feature in the columns that were asked for."""


def read_layer(path: Path, layer: str | None, where: str | None, columns: Sequence[str] = ()) -> LayerContent:
    """Read the features of a layer, with some of their attributes.

    Raises :class:`AreaError` where the file cannot be read, or has no such layer or column, no feature or no CRS.
    """
    # With it comes pandas, which what reads no such file need not wait for.
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FieldError

    name = _layer_of(path, layer)
    try:
        known = [str(one) for one in pyogrio.read_info(path, layer=name)["fields"]] if columns else []
        for column in columns:
            if column not in known:
                raise AreaError(f"{path} has no column {column!r}: it has {', '.join(known) or 'none'}")
        meta, numbers, geometries, values = pyogrio.raw.read(
            path, layer=name, where=where, columns=list(columns), force_2d=True, return_fids=True
        )
    except (DataSourceError, DataLayerError, FieldError, ValueError) as error:
        if where is not None:
            raise AreaError(f"cannot select from {path} where {where}: {error}") from error
        raise AreaError(f"cannot read the layer {name} of {path}: {error}") from error
    if geometries is None or not len(geometries):
        chosen = "" if where is None else f" where {where}"
        raise AreaError(f"the layer {name} of {path} holds no feature with a place{chosen}")
    if meta["crs"] is None:
        raise AreaError(f"{path} has no CRS: give it its own, as with ogr2ogr -a_srs EPSG:… OUT IN")
    shapes = list(shapely.from_wkb(geometries, on_invalid="ignore"))
    return LayerContent(name, str(meta["crs"]), numbers, shapes, dict(zip(meta["fields"], values, strict=True)))


def _layer_of(path: Path, layer: str | None) -> str:
    """Name of the layer to read: the one asked for, or the only one. Raises :class:`AreaError`."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
    except (DataSourceError, DataLayerError) as error:
        if not path.exists():
            raise AreaError(f"cannot read the area of interest {path}: there is no such file") from error
        raise AreaError(f"{path} is no vector file that OGR reads here: convert it to a GeoPackage, ogr2ogr") from error
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    if layer is not None:
        if layer not in names:
            raise AreaError(f"{path} has no layer {layer!r}: it has {listed or 'none'}")
        return layer
    if not names:
        raise AreaError(f"{path} has no layer")
    if len(names) > 1:
        raise AreaError(f"{path} has several layers, {listed}: choose one with --layer")
    return names[0]


def in_degrees(polygons: list[BaseGeometry], crs: str, path: Path) -> list[BaseGeometry]:
    """Project polygons with their edges bent as the projection bends them."""
    try:
        own = CRS.from_user_input(crs)
        transform = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    except ProjError as error:
        raise AreaError(f"the CRS of {path} is not one that leads to longitude and latitude: {error}") from error
    if own.equals("EPSG:4326", ignore_axis_order=True):
        return polygons
    west, south, east, north = shapely.total_bounds(polygons)
    step = max(east - west, north - south) / _PIECES
    try:
        return [
            shapely.transform(
                shapely.segmentize(polygon, step) if step > 0 else polygon,
                lambda xy: np.column_stack(transform.transform(xy[:, 0], xy[:, 1], errcheck=True)),
            )
            for polygon in polygons
        ]
    except (ProjError, ShapelyError) as error:
        raise AreaError(f"the coordinates of {path} are not in its CRS: {error}") from error
