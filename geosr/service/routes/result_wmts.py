"""WMTS capabilities of finished products, whose tiles are titiler's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import rasterio
from fastapi import APIRouter, Request, Response
from odc.geo.geobox import GeoBox

from geosr.maps.raster import MapRaster, read_pixels
from geosr.maps.stretch import Stretch
from geosr.service.context import CallerOf, Context, ContextOf
from geosr.service.geography import bounds_of
from geosr.service.jobs.processes import CHANGE
from geosr.service.jobs.record import SUCCESSFUL, Job
from geosr.service.problems import Problem
from geosr.service.tiles.render import HALF_WIDTH_COLORMAP
from geosr.service.tiles.wmts import WmtsLayer, capabilities

router = APIRouter(tags=["result tiles"])

#: Pixels along the longer side of the image that the limits of colours are measured in.
_MEASURED_PX = 512

#: Percentile of half-widths that is the brightest.
_WIDEST = 98

#: Parameters of the request that are not those of a layer.
_OWN = ("api_key", "service", "request", "version")

Query = tuple[tuple[str, str], ...]


@router.get("/jobs/{job_id}/wmts", response_class=Response, responses={200: {"content": {"application/xml": {}}}})
def wmts(request: Request, job_id: str, context: ContextOf, caller: CallerOf) -> Response:
    """WMTS capabilities of a result's layers: with parameters of its tiles, as ``bidx``, of the one that they make."""
    job = context.jobs.get(job_id, caller)
    path = job.files().get(job.process.main)
    if job.status != SUCCESSFUL or path is None:
        raise Problem(404, "the job has no such raster")
    asked = tuple((name, text) for name, text in request.query_params.multi_items() if name.lower() not in _OWN)
    layers = {"result": asked} if asked else _layers_of(job)
    with rasterio.open(path) as raster:
        bounds = bounds_of(GeoBox.from_rio(raster))
    title = job.title or f"result {job.id[:8]}"
    shown = [
        WmtsLayer(name, f"{title}, {name}", _address(request, context, job, query), bounds)
        for name, query in layers.items()
    ]
    return Response(capabilities(shown, context.url(f"/jobs/{job.id}/wmts")), media_type="application/xml")


def _address(request: Request, context: Context, job: Job, query: Query) -> str:
    """Address of a layer's tiles, with the key that the request's address has."""
    key = request.query_params.get("api_key")
    if key and context.settings.with_keys:
        query = (*query, ("api_key", key))
    tiles = f"/jobs/{job.id}/map/tiles/WebMercatorQuad/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png"
    return f"{context.url(tiles)}?{urlencode(query, safe=',')}"


def _layers_of(job: Job) -> dict[str, Query]:
    """Parameters of the tiles of each layer."""
    files = job.files()
    if job.process_id == CHANGE:
        dates: dict[str, Query] = {name: _natural(name, files[name]) for name in ("after", "before") if name in files}
        return {"map": (("output", "map"),), **dates}
    layers = {"product": _natural("product", files["product"])}
    if "uncertainty" in files:
        layers["uncertainty"] = _half_widths(files["uncertainty"])
    return layers


def _natural(output: str, path: Path) -> Query:
    """Colours of a product as its style for QGIS has them."""
    with rasterio.open(path) as raster:
        numbers = MapRaster.of_open(path.name, raster).shown()
        stretch = Stretch.measured(read_pixels(raster, numbers, _MEASURED_PX))
    bands = tuple(("bidx", str(number)) for number in numbers)
    limits = (("rescale", f"{stretch.low:g},{stretch.high:g}"),)
    colours = "RGB" if len(numbers) == 3 else "R"
    return (("output", output), *bands, *limits, ("color_formula", f"gamma {colours} {stretch.gamma:g}"))


def _half_widths(path: Path) -> Query:
    """Half-widths of the first band that is shown."""
    with rasterio.open(path) as raster:
        number = MapRaster.of_open(path.name, raster).shown()[0]
        shown = read_pixels(raster, (number,), _MEASURED_PX)
    highest = float(np.percentile(shown.pixels[:, shown.valid], _WIDEST)) if shown.valid.any() else 1.0
    limits = ("rescale", f"0,{max(highest, 1e-6):g}")
    return (("output", "uncertainty"), ("bidx", str(number)), limits, ("colormap_name", HALF_WIDTH_COLORMAP))
