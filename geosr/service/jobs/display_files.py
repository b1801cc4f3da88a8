"""Files by which a result is looked at: a preview and styles for QGIS, written by the job that makes it."""

from __future__ import annotations

from pathlib import Path

import tiling
from geosr.maps.preview import preview_png
from geosr.maps.qml import natural_style, style_of
from geosr.maps.raster import MapRaster

PREVIEW = "product_preview.png"

_PREVIEW_PX = 512

#: Styles of layers, by the ending of their files' names.
_STYLES = {"uncertainty": "uncertainty", "measured": "measured"}


def write_display_files(product: Path) -> None:
    """Write a preview of a product, and styles of it and of the layers beside it.

    Raises :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    raster = MapRaster.of(str(product))
    tiling.write(product.with_name(PREVIEW), [preview_png(raster, longest_px=_PREVIEW_PX)])
    tiling.write(style_path(product), [natural_style(raster).encode()])
    for name, style in _STYLES.items():
        layer = product.with_name(f"{product.stem}_{name}.tif")
        if layer.exists():
            tiling.write(style_path(layer), [style_of(MapRaster.of(str(layer)), style).encode()])


def style_path(raster: Path) -> Path:
    """Place of a raster's style, where QGIS finds it."""
    return raster.with_suffix(".qml")
