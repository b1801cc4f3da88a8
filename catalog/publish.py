"""The STAC Item that goes with a result."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from catalog.area import cut_at_antimeridian, footprint_of, reaches_beyond_180
from catalog.pixel_size import gsd_m_of
from catalog.scene import Scene

_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)

#: Formats of the ``processing:expression`` of an image, and of a map of change between two.
PRODUCT, CHANGE = "geosr", "geosr-change"

#: Stands for a property that a scene does not have.
_ABSENT = object()

#: Vertices per side of a footprint: the edges of a tile bend by less than a pixel between them.
_FOOTPRINT_POINTS = 12

#: Where nothing tells when a scene was acquired. A file's own time is when it was copied, and that of a run would make
#: each run's Item another one.
_ANY_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class ResultLayer:
    """A further raster on a result's grid that describes the result."""

    key: str
    """Key of the asset, and its role."""
    name: str
    """Name of its file beside the result's."""
    title: str
    """Title of the asset."""
    description: str
    """Description of the asset."""
    dtype: str
    """NumPy name of the pixel type."""
    nodata: float | None
    """Nodata value, None if there is none."""
    bands: Sequence[Mapping[str, Any]]
    """As in STAC: name, description, scale and offset of each."""


@dataclass(frozen=True)
class Result:
    """Raster that was made of a scene."""

    name: str
    """Name of the COG's file."""
    geobox: GeoBox
    """Grid of the COG."""
    dtype: str
    """NumPy name of the pixel type."""
    nodata: float | None
    """Nodata value, None if there is none."""
    software: Mapping[str, str]
    """Name and version of what made it."""
    lineage: str
    """One sentence on how."""
    expression: Mapping[str, Any]
    """Parameters to repeat it with."""
    layers: Sequence[ResultLayer] = ()
    """Further rasters on its grid."""
    title: str = "Super-resolved image"
    """Title of its asset."""
    bands: Sequence[Mapping[str, Any]] | None = None
    """As in STAC, where they are not the scene's."""
    form: str = PRODUCT
    """Format of its ``processing:expression``: the kind of result."""
    extensions: Sequence[str] = ()
    """Schemas of further extensions that the bands use."""


def item_of_result(scene: Scene, result: Result) -> pystac.Item:
    """Describe a result as a STAC 1.1 Item, which goes beside the COG and refers to it by name.

    Parameters
    ----------
    scene
        Scene that the result was made of; its time of acquisition is the Item's.
    result
        Name, grid, type and origin of the COG.

    Returns
    -------
    pystac.Item
        Item with the COG and its layers as assets, and links to the scene's sources.

    """
    return _item((scene,), result, scene.datetime, _interval(scene), ["data", *_roles_of(scene)])


def item_of_comparison(scenes: Sequence[Scene], result: Result) -> pystac.Item:
    """Describe what was made of several dates of one place as a STAC 1.1 Item.

    Parameters
    ----------
    scenes
        Scenes of the dates. The Item covers the time from the first to the last, and has the properties they share.
    result
        Name, grid, type, bands and origin of the COG.

    Returns
    -------
    pystac.Item
        Item with the COG and its layers as assets, and links to the sources of all scenes.

    """
    periods = [(one.datetime, one.datetime) if one.datetime else one.period or _ANY_TIME for one in scenes]
    interval = min(start for start, _ in periods), max(end for _, end in periods)
    return _item(scenes, result, None, interval, ["data"])


def _item(
    scenes: Sequence[Scene],
    result: Result,
    time: dt.datetime | None,
    interval: tuple[dt.datetime | None, dt.datetime | None],
    roles: list[str],
) -> pystac.Item:
    geometry, bbox = _place(result.geobox)
    first, *others = scenes
    shared = {
        key: value
        for key, value in first.properties.items()
        if all(one.properties.get(key, _ABSENT) == value for one in others)
    }
    item = pystac.Item(
        id=Path(result.name).stem,
        geometry=geometry,
        bbox=bbox,
        datetime=time,
        start_datetime=interval[0],
        end_datetime=interval[1],
        properties={
            **shared,
            **_projection(result.geobox),
            "gsd": gsd_m_of(result.geobox),
            "processing:software": dict(result.software),
            "processing:lineage": result.lineage,
            "processing:expression": {"format": result.form, "expression": dict(result.expression)},
        },
        stac_extensions=[*_EXTENSIONS, *result.extensions],
    )
    if item.properties["gsd"] is None:
        del item.properties["gsd"]
    item.add_asset("data", _asset(first, result, roles))
    for layer in result.layers:
        item.add_asset(layer.key, _layer_asset(layer))
    for source in dict.fromkeys(source for scene in scenes for source in scene.sources):
        item.add_link(pystac.Link("derived_from", _address(source), media_type=_media_type(source)))
    return item


def _place(geobox: GeoBox) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Footprint and box of a grid in degrees; None for grids without a place on Earth.

    Across the antimeridian the footprint is cut in two, and the box's west is greater than its east (RFC 7946, 5.2).
    """
    if geobox.crs is None:
        return None, None
    try:
        whole = footprint_of(geobox, npoints=_FOOTPRINT_POINTS)
    except (ProjError, ShapelyError):
        # A CRS of a building site, or of another planet.
        return None, None
    west, south, east, north = whole.bounds
    if not all(math.isfinite(degrees) for degrees in whole.bounds):
        return None, None
    if not reaches_beyond_180(whole):
        return shapely.geometry.mapping(whole), [west, south, east, north]
    return shapely.geometry.mapping(cut_at_antimeridian(whole)), [_longitude(west), south, _longitude(east), north]


def _longitude(degrees: float) -> float:
    """Return the same meridian between -180° and 180°."""
    return (degrees + 180) % 360 - 180


def _layer_asset(layer: ResultLayer) -> pystac.Asset:
    return pystac.Asset(
        href=f"./{layer.name}",
        media_type=pystac.MediaType.COG,
        # Not "data", which readers load as an image.
        roles=[layer.key],
        title=layer.title,
        description=layer.description,
        extra_fields={**_pixels(layer.dtype, layer.nodata), "bands": [dict(band) for band in layer.bands]},
    )


def _pixels(dtype: str, nodata: float | None) -> dict[str, Any]:
    return {"data_type": dtype, **({} if nodata is None else {"nodata": _json_number(nodata)})}


def _roles_of(scene: Scene) -> list[str]:
    return [] if scene.plain_image else ["reflectance"]


def _asset(scene: Scene, result: Result, roles: list[str]) -> pystac.Asset:
    bands = result.bands
    if bands is None:
        bands = [
            {
                "name": band.name,
                **({"description": band.description} if band.description else {}),
                "raster:scale": band.scale,
                "raster:offset": band.offset,
            }
            for band in scene.bands
        ]
    return pystac.Asset(
        href=f"./{result.name}",
        media_type=pystac.MediaType.COG,
        roles=roles,
        title=result.title,
        extra_fields={**_pixels(result.dtype, result.nodata), "bands": [dict(band) for band in bands]},
    )


def _projection(geobox: GeoBox) -> dict[str, Any]:
    box = geobox.boundingbox
    fields: dict[str, Any] = {
        "proj:shape": [geobox.shape.y, geobox.shape.x],
        "proj:transform": list(geobox.affine[:6]),
        "proj:bbox": [box.left, box.bottom, box.right, box.top],
    }
    crs: CRS | None = geobox.crs
    if crs is None:
        return {"proj:code": None, **fields}
    epsg = crs.to_epsg()
    return {"proj:code": f"EPSG:{epsg}", **fields} if epsg else {"proj:code": None, "proj:wkt2": crs.to_wkt(), **fields}


def _interval(scene: Scene) -> tuple[dt.datetime | None, dt.datetime | None]:
    """Start and end of the period that an unknown time of acquisition lies in; None where it is known."""
    return (None, None) if scene.datetime is not None else scene.period or _ANY_TIME


def _address(source: str) -> str:
    path = Path(source)
    return path.resolve().as_uri() if path.exists() else source


def _media_type(source: str) -> str | None:
    suffix = Path(source).suffix.lower()
    types: Sequence[tuple[str, str]] = ((".json", pystac.MediaType.GEOJSON), (".tif", pystac.MediaType.GEOTIFF))
    return next((media for ending, media in types if suffix == ending), None)


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
