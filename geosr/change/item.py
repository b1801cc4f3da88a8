"""The STAC Item of a map of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pystac
import rasterio
from odc.geo.geobox import GeoBox

import catalog
from catalog import Scene
from catalog.publish import CHANGE
from geosr.change.calm import BANDS
from geosr.change.indices import SpectralIndex
from geosr.change.polygons import DECREASE, INCREASE, UNCHANGED
from geosr.change.result import ChangeResult
from geosr.change.situation_map import COLOURS
from geosr.model.zoo import ModelRef
from geosr.version import VERSION

_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"

#: Title and media type, by the ending, of what goes with the map.
_MORE = {
    "polygons": ("Areas of change", {".gpkg": pystac.MediaType.GEOPACKAGE}, pystac.MediaType.GEOJSON),
    "report": ("Situation map", {".pdf": pystac.MediaType.PDF}, pystac.MediaType.HTML),
    "districts": ("Hectares by district", {}, "text/csv"),
    "summary": ("Hectares, and shift and radiometry between the dates", {}, pystac.MediaType.JSON),
}


def item_text(
    result: ChangeResult,
    scenes: Sequence[Scene],
    index: SpectralIndex,
    model: ModelRef,
    levels: Mapping[str, float],
    drafts: Mapping[str, Path],
    targets: Mapping[str, Path],
) -> bytes:
    """Describe a map of change as a STAC Item that goes beside it.

    Parameters
    ----------
    result
        Change that was found.
    scenes
        Both dates; the Item is derived from their sources.
    index
        Index that was compared.
    model
        Model that upscaled both dates.
    levels
        Smallest difference and area that count, as parameters to repeat it with.
    drafts
        Files that were written, by what they are; ``map`` and ``difference`` are rasters.
    targets
        Paths that the files go to. Those in the map's folder become assets.

    Returns
    -------
    bytes
        JSON.
    """
    output = targets["map"]
    with rasterio.open(drafts["map"]) as raster:
        geobox, dtype, nodata = GeoBox.from_rio(raster), str(raster.dtypes[0]), raster.nodata
    card = model.card
    difference = catalog.ResultLayer(
        "difference",
        targets["difference"].name,
        f"Difference of {index.name.upper()}",
        f"{index.name.upper()} after minus before. The first band leaves out detail below the errors of both dates, "
        "the third is the difference as measured.",
        "float32",
        float("nan"),
        [{"name": name, "description": content} for name, content in BANDS.items()],
    )
    made = catalog.Result(
        output.name,
        geobox,
        dtype,
        nodata,
        {"geosr": VERSION},
        f"Change of {index.name.upper()} between two dates, each upscaled ×{card.scale} with model {card.name}.",
        {"index": index.name, "model": card.name, "digest": card.digest, **levels},
        [difference],
        "Classes of change",
        [{"name": "change", "classification:classes": _classes(index), "raster:sampling": "area"}],
        CHANGE,
        [_CLASSIFICATION],
    )
    item = catalog.item_of_comparison(scenes, made)
    hectares = {index.less: result.fine.less.hectares, index.more: result.fine.more.hectares}
    item.properties["geosr:hectares"] = hectares
    for key, path in targets.items():
        # A second map of the situation is report_2.
        title, media, usual = _MORE.get(key.split("_")[0], ("", {}, ""))
        if title and path.absolute().parent == output.absolute().parent:
            media_type = media.get(path.suffix.lower(), usual)
            item.add_asset(key, pystac.Asset(f"./{path.name}", title, media_type=media_type, roles=["metadata"]))
    return (catalog.to_json(item.to_dict(include_self_link=False), indent=2) + "\n").encode()


def _classes(index: SpectralIndex) -> list[dict[str, object]]:
    kinds = [(UNCHANGED, "unchanged", None), (DECREASE, index.less, COLOURS[0]), (INCREASE, index.more, COLOURS[1])]
    return [
        {
            "value": value,
            "name": meaning.replace(" ", "-"),
            "title": meaning,
            **({} if colour is None else {"color_hint": "{:02X}{:02X}{:02X}".format(*colour)}),
        }
        for value, meaning, colour in kinds
    ]
