"""Files for maps beside a product, as ``geosr upscale`` and ``geosr batch`` write them: preview, 8 bits, styles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from PIL import Image
from rasterio.errors import RasterioError

import catalog
import tiling
from catalog.strict_json import json_text
from geosr.errors import ExistsError, UsageError
from geosr.maps.preview import SHOWS, preview_png, write_rgb8
from geosr.maps.qml import MARK, STYLES, natural_style, style_of
from geosr.maps.raster import MapRaster
from geosr.run.publishing import Published
from geosr.run.uncertainty_layers import layer_paths
from tiling import Location, OutputError


@dataclass(frozen=True)
class MapOutputs:
    """Files for maps that go beside a product."""

    preview: Location | None = None
    """PNG of the whole product, which is the thumbnail of its Item."""
    rgb8: Location | None = None
    """Red, green and blue in 8 bits, as a COG of full size."""
    style: bool = False
    """QGIS styles beside the product and its layers."""

    def check(self, output: Location, sources: Sequence[str] = (), *, overwrite: bool) -> None:
        """Refuse places that cannot be written, and those of the sources, before anything is computed.

        Raises :class:`UsageError`, :class:`ExistsError` or :class:`tiling.OutputError`.
        """
        places = [("--preview", self.preview, (".png",)), ("--rgb8", self.rgb8, (".tif", ".tiff"))]
        for option, path, endings in places:
            if path is None:
                continue
            if path.suffix.lower() not in endings:
                raise UsageError(f"{option} {path} has to end in {endings[0]}")
            if path == output:
                raise UsageError(f"{option} {path} is the product itself: give another name")
            if path in layer_paths(output):
                raise UsageError(f"{option} {path} is the place of a layer of the product: give another name")
            if _is_one_of(path, sources):
                raise ExistsError(f"writing {path} would replace the source itself: write to another file")
            if isinstance(path, Path) and not path.parent.is_dir():
                raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
        if overwrite:
            return
        for path in (self.preview, self.rgb8, *([style_path(output)] if self.style else ())):
            if path is not None and path.exists() and not _shows(path, output):
                raise ExistsError(f"{path} exists and is not of {output.name}: --overwrite replaces it")

    def write(self, published: Published) -> dict[str, Location]:
        """Write the files and add them to the product's Item; returns their paths by the key of their asset."""
        if self == MapOutputs():
            return {}
        raster = _form_of(published.cog)
        written: dict[str, Location] = {}
        if self.preview is not None:
            tiling.write(self.preview, [preview_png(raster)])
            written["thumbnail"] = self.preview
        if self.rgb8 is not None:
            write_rgb8(raster, self.rgb8)
            written["visual"] = self.rgb8
        if self.style:
            styled = {name: path for name, path in published.layers.items() if name in STYLES}
            for name, path in (("style", published.cog), *styled.items()):
                text = natural_style(raster) if name == "style" else style_of(_form_of(path), name)
                tiling.write(style_path(path), [text.encode()])
                written[name if name == "style" else f"{name}_style"] = style_path(path)
        _add_assets(published.item, written)
        return written


def style_path(raster: Location) -> Location:
    """Path at which QGIS looks for the style of a raster."""
    return raster.with_suffix(".qml")


def _form_of(path: Location) -> MapRaster:
    return MapRaster.of(tiling.gdal_path(path))


def has_style(raster: Location) -> bool:
    """Tell whether a style that was written here lies beside a raster."""
    path = style_path(raster)
    return path.exists() and _shows(path, raster)


_FORMS: dict[str, dict[str, Any]] = {
    "thumbnail": {"type": "image/png", "roles": ["thumbnail"], "title": "Preview"},
    "visual": {
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["visual"],
        "title": "True colour in 8 bits",
    },
    "style": {"type": "application/xml", "roles": ["style"], "title": "Style for QGIS"},
}


def _add_assets(item: Location, written: dict[str, Location]) -> None:
    content = json.loads(json_text(item.read_bytes()))
    for key, path in written.items():
        form = _FORMS["style" if key.endswith("style") else key]
        content["assets"][key] = {"href": _href(path, item), **form}
    tiling.write(item, [(catalog.to_json(content, indent=2) + "\n").encode()])


def _href(path: Location, item: Location) -> str:
    if path.parent == item.parent:
        return f"./{path.name}"
    return path.resolve().as_uri() if isinstance(path, Path) else str(path)


def _is_one_of(path: Location, sources: Sequence[str]) -> bool:
    """Tell whether a file is a source, or in the folder of one."""
    if not isinstance(path, Path):
        return any(source in (str(path), tiling.gdal_path(path)) for source in sources)
    there = path.resolve()
    return any("://" not in source and there.is_relative_to(Path(source).resolve()) for source in sources)


def _shows(path: Location, output: Location) -> bool:
    """Tell whether a file was written here for a product of this name."""
    if path.suffix == ".qml":
        return f"<!-- {MARK} -->" in path.read_text(encoding="utf-8", errors="replace")
    try:
        if path.suffix.lower() == ".png":
            with path.open("rb") as file, Image.open(file) as image:
                return image.info.get(SHOWS) == output.name
        with rasterio.Env(), rasterio.open(tiling.gdal_path(path)) as raster:
            return bool(raster.tags().get(SHOWS) == output.name)
    except (OSError, RasterioError):
        return False
