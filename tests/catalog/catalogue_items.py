"""Items in the forms of the catalogues that are in use, written by hand: the fields that decide, and none else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyproj import Transformer

from tests.conftest import RGBN
from tests.stac_items import KEYS

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
JP2 = "image/jp2"

#: What the raster extension says of files whose DN carry the offset, of files without one, and of files unspecified.
MINUS = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}]}
ZERO = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": 0}]}
UNTOLD = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "spatial_resolution": 10}]}
#: STAC 1.1 has them on the asset.
ON_ASSET = {"nodata": 0, "data_type": "uint16", "raster:scale": 0.0001, "raster:offset": -0.1}

_LARGE_PX = 10980


def catalogue_item(
    id: str,
    properties: dict[str, Any],
    told: dict[str, Any],
    *,
    names: Sequence[str] = ("blue", "green", "red", "nir"),
    media_type: str = COG,
    place: tuple[int, float, float] = (32633, 499980, 5100000),
    **fields: Any,
) -> dict[str, Any]:
    """An Item of a whole tile whose four 10 m assets say ``told``; ``place`` is its zone and upper left corner.

    Its footprint lies within the tile, whose lower right corner was not seen. As catalogues write it, longitudes of a
    tile across the antimeridian jump from 180 to -180.
    """
    epsg, left, top = place
    side = 10.0 * _LARGE_PX
    corners = [(0, 0), (side, 0), (side, -0.6 * side), (0.6 * side, -side), (0, -side), (0, 0)]
    degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    ring = [degrees.transform(left + x, top + y) for x, y in corners]
    version = {"stac_version": "1.1.0", "stac_extensions": []} if told is ON_ASSET else {"stac_version": "1.0.0"}
    assets = {
        key: {
            "href": f"https://data.example.org/{id}/{band}.tif",
            "type": media_type,
            "proj:shape": [_LARGE_PX, _LARGE_PX],
            "proj:transform": [10, 0, left, 0, -10, top],
            **({"bands": [{"name": band}]} if told is ON_ASSET else {"eo:bands": [{"name": KEYS[band]}]}),
            **told,
        }
        for key, band in zip(names, RGBN, strict=True)
    }
    return {
        "type": "Feature",
        "id": id,
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(x for x, _ in ring), min(y for _, y in ring), max(x for x, _ in ring), max(y for _, y in ring)],
        "links": [],
        "properties": {
            "datetime": "2023-08-15T10:00:31Z",
            "platform": "sentinel-2b",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            **({"proj:code": f"EPSG:{epsg}"} if told is ON_ASSET else {"proj:epsg": epsg}),
            **properties,
        },
        "assets": assets,
        **version,
        **fields,
    }


#: Tiles that cross the antimeridian, from its east and from its west.
ACROSS = ((32601, 300000, 7500000), (32601, 300000, 6300000), (32660, 600000, 6300000), (32601, 300000, 6700020))
