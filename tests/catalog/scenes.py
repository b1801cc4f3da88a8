"""Boxes over Items that tests write, and their pixels."""

from __future__ import annotations

from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rasterio.windows import Window

DAY = "2023-08-15"


def bbox_of(window: Window, left: float = 300000, top: float = 5400000, epsg: int = 32633, shrink_px: float = 1) -> str:
    """Degrees of a box inside a window of 10 m pixels."""
    grid = GeoBox(
        (window.height, window.width),
        Affine(10, 0, left + 10 * window.col_off, 0, -10, top - 10 * window.row_off),
        f"EPSG:{epsg}",
    )
    return ",".join(map(str, grid.footprint("EPSG:4326", buffer=-shrink_px).boundingbox.bbox))


def pixels_of(scene):
    return scene.reader.read(scene.area)
