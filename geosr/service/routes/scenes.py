"""Routes of scenes: the search for them, uploads, and descriptions. Their pixels are in :mod:`.views`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

import catalog
from catalog import CatalogError, NothingFoundError
from geosr.errors import GeosrError
from geosr.service import schemas
from geosr.service.context import CallerOf, ContextOf, client_of
from geosr.service.fetch import fetch_places, fetch_thumbnail, with_absolute_assets
from geosr.service.geojson import AreaJson
from geosr.service.jobs.inputs import parse_area
from geosr.service.live_scene import LiveScene
from geosr.service.messages import for_clients
from geosr.service.problems import Problem
from geosr.service.request_types import Address, Box, Number, Period, SensorName, given
from geosr.service.results.period_and_area import ordered
from geosr.service.routes.receiving import received
from geosr.service.tiles import live_tiles
from geosr.service.tiles.live_change import change_legend, combinations_of
from geosr.service.tiles.render import HALF_WIDTH_COLORMAP, HALF_WIDTH_RANGE, legend
from geosr.service.uploads import RasterDescription, SourceDetails

router = APIRouter(tags=["scenes"])

#: Items that a search gives at most.
_MOST_FOUND = 100

#: Names of bands with commas between them.
_BAND_NAMES = r"^[A-Za-z0-9_,-]{1,400}$"

_NODATA = "A DN without measurement, besides those that the source declares."
_SENSOR = f"Instrument of the scene, where its source does not say it: {', '.join(catalog.sensor_names())}."


class NewScene(BaseModel):
    """A scene to be shown: a STAC Item by its address, or one that a search gave, by its id."""

    model_config = ConfigDict(extra="forbid")

    item: Address = Field(description="Address of a STAC Item.")
    nodata: Number | None = Field(default=None, description=_NODATA)
    sensor: SensorName | None = Field(default=None, description=_SENSOR)


class SceneSearch(BaseModel):
    """A search of the catalogue."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"oneOf": [given("bbox"), given("intersects")]},
    )

    bbox: Box | None = None
    intersects: AreaJson | None = None
    datetime: Period
    max_cloud: Number = Field(default=100, ge=0, le=100)

    @model_validator(mode="after")
    def _one_area(self) -> SceneSearch:
        if (self.bbox is None) == (self.intersects is None):
            raise ValueError("give bbox or intersects")
        return self


class LeftOut(BaseModel):
    """A scene that cannot be shown now."""

    id: str
    title: str
    kind: Literal["demo", "upload", "item"]
    reason: str


async def _details(
    nodata: Annotated[float | None, Query(allow_inf_nan=False, description=_NODATA)] = None,
    sensor: Annotated[SensorName | None, Query(description=_SENSOR)] = None,
) -> SourceDetails:
    return SourceDetails(nodata, sensor)


async def _description(
    bands: Annotated[
        str | None,
        Query(pattern=_BAND_NAMES, description="Names of its bands in their order, as B02,B03; - leaves one out."),
    ] = None,
    scale: Annotated[float | None, Query(gt=0, allow_inf_nan=False, description="Reflectance for each DN.")] = None,
    offset: Annotated[float | None, Query(allow_inf_nan=False, description="Reflectance at DN 0.")] = None,
) -> RasterDescription:
    return RasterDescription(tuple(bands.split(",")) if bands else (), scale, offset)


class AllScenes(schemas.SceneList):
    """Scenes that can be shown, and those that cannot: their server does not answer, or the model does not fit."""

    left_out: list[LeftOut]


@router.get("/scenes", response_model=AllScenes)
def list_scenes(context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Scenes that can be shown, and why others cannot."""
    found, left_out = context.scenes.list(caller)
    return {"scenes": found, "left_out": left_out}


@router.post("/scenes", status_code=201, response_model=schemas.SceneInfo)
def add_scene(
    new: NewScene, request: Request, context: ContextOf, caller: CallerOf, response: Response
) -> dict[str, Any]:
    """Show the scene of a STAC Item."""
    context.upload_rates.take(client_of(caller, request))
    live = context.scenes.add_item(new.item, caller, SourceDetails(new.nodata, new.sensor))
    response.headers["Location"] = context.url(f"/scenes/{live.id}")
    return _described(live)


@router.post(
    "/scenes/upload",
    status_code=201,
    response_model=schemas.SceneInfo,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                media: {"schema": {"type": "string", "format": "binary"}}
                for media in ("image/tiff", "image/jp2", "application/zip")
            },
        }
    },
)
async def upload_scene(
    request: Request,
    response: Response,
    context: ContextOf,
    caller: CallerOf,
    description: Annotated[RasterDescription, Depends(_description)],
    details: Annotated[SourceDetails, Depends(_details)],
    title: Annotated[str, Query(max_length=120)] = "upload",
) -> dict[str, Any]:
    """Show a GeoTIFF, a JPEG 2000 or the zip of a .SAFE product, which is the body of the request.

    What it does not say of its bands is said beside it.
    """
    context.upload_rates.take(client_of(caller, request))
    handle, name = tempfile.mkstemp(dir=context.scenes.folder, prefix=".upload-")
    os.close(handle)
    path = Path(name)
    try:
        await received(request, path, context.settings.max_upload_bytes)
        try:
            live = await run_in_threadpool(context.scenes.add_upload, path, title, caller, details, description)
        except (CatalogError, GeosrError) as error:
            if details == SourceDetails() and description == RasterDescription():
                raise
            # The file may well do, and what is said beside it does not fit.
            raise Problem(409, for_clients(str(error))) from error
        described = await run_in_threadpool(_described, live)
    finally:
        path.unlink(missing_ok=True)
    response.headers["Location"] = context.url(f"/scenes/{live.id}")
    return described


@router.post("/catalogue/search", response_model=schemas.FeatureCollection)
def search(wanted: SceneSearch, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Scenes of the catalogue, clearest first, as a GeoJSON FeatureCollection of STAC Items."""
    settings = context.settings
    area = parse_area(wanted.bbox, wanted.intersects)
    query = catalog.Query(area, ordered(wanted.datetime), settings.api, settings.collection, wanted.max_cloud)
    try:
        items = catalog.search(query)
    except NothingFoundError:
        items = []
    features = []
    for item in items[:_MOST_FOUND]:
        content = item.to_dict(transform_hrefs=False)
        self_href = item.get_self_href() or f"{settings.api}/collections/{item.collection_id}/items/{item.id}"
        features.append({**with_absolute_assets(content, self_href), "geosr:item": self_href})
    return {"type": "FeatureCollection", "features": features, "numberMatched": len(items)}


@router.get("/catalogue/thumbnail", response_class=Response)
def thumbnail(href: Address, context: ContextOf, caller: CallerOf) -> Response:
    """A thumbnail of a scene that was found, from one of the catalogue's hosts."""
    content, kind = fetch_thumbnail(href, context.settings.allowed_hosts)
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


@router.get("/places", response_model=list[schemas.Place])
def search_places(
    query: Annotated[str, Query(min_length=1, max_length=200)], context: ContextOf, caller: CallerOf
) -> list[dict[str, Any]]:
    """Places by their name, where the service has a search for them."""
    if context.settings.places is None:
        raise Problem(404, "this service has no search for places: give coordinates")
    return fetch_places(context.settings.places, query, context.settings.allowed_hosts)


@router.get("/scenes/{scene_id}", response_model=schemas.SceneInfo)
def get_scene(scene_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Description of a scene, and of the ways to show it."""
    return _described(context.scenes.get(scene_id, caller))


@router.delete("/scenes/{scene_id}", status_code=204)
def remove_scene(scene_id: str, context: ContextOf, caller: CallerOf) -> None:
    """Forget a scene, and its upload."""
    context.scenes.remove(scene_id, caller)
    context.tiles.forget(scene_id)


def _described(live: LiveScene) -> dict[str, Any]:
    first, fine = live_tiles.zooms(live)
    return {
        **live.describe(),
        "combinations": combinations_of(live.scene.names),
        "change": change_legend(""),
        "default_bands": live_tiles.default_bands(live.scene.names),
        "zooms": {"first": first, "super_resolved": fine, "last": live_tiles.MAX_ZOOM},
        "half_width": {"range": list(HALF_WIDTH_RANGE), "legend": legend(HALF_WIDTH_COLORMAP)},
    }
