"""Finished products as a small STAC API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

import shapely
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geosr.service import schemas
from geosr.service.context import CallerOf, Context, ContextOf
from geosr.service.geojson import GeometryJson
from geosr.service.jobs.record import SUCCESSFUL, Job
from geosr.service.problems import Problem, explain
from geosr.service.request_types import NO_TEXT, BoxOrCubeText, Number, OpenPeriod, all_given
from geosr.service.results.extent import extent_of
from geosr.service.results.item import read_item
from geosr.service.results.period_and_area import area_of_box, area_of_geojson, parse_box, parse_period, period_of_item
from geosr.service.routes.paging import MOST, MOST_BEFORE, Page, PageOf
from geosr.service.security.api_keys import Caller

router = APIRouter(tags=["results"])

COLLECTION = "results"

STAC_CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)

_GEOJSON = "application/geo+json"

Bbox = Annotated[
    BoxOrCubeText | None,
    Query(description="West, south, east, north in degrees; a geometry is searched with by POST, as intersects."),
]
Names = Annotated[Sequence[str], Query(description="Names, with commas between them or each by itself.")]
Datetime = Annotated[
    OpenPeriod | None, Query(description="An instant, a date, or two with / between them, one of them open with ..")
]


class GeoJSONResponse(JSONResponse):
    """An answer in GeoJSON."""

    media_type = _GEOJSON


#: Corners of a box, without and with heights; not only in degrees, for nothing is found elsewhere.
Flat = Annotated[list[Number], Field(min_length=4, max_length=4)]
Cube = Annotated[list[Number], Field(min_length=6, max_length=6)]


class ItemSearch(BaseModel):
    """STAC's item search, as far as it goes here; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"not": all_given("bbox", "intersects")})

    bbox: Flat | Cube | None = None
    intersects: GeometryJson | None = None
    datetime: OpenPeriod | None = None
    collections: list[str] | None = None
    ids: list[str] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST), NO_TEXT] = 20
    offset: Annotated[int, Field(ge=0, le=MOST_BEFORE), NO_TEXT] = 0

    @model_validator(mode="after")
    def _one_area(self) -> ItemSearch:
        if self.bbox is not None and self.intersects is not None:
            raise ValueError("give bbox or intersects, not both")
        return self


@router.get("/collections")
def list_collections(context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """All collections: one."""
    return {"collections": [_collection(context, caller)], "links": [context.link("/collections", "self")]}


@router.get("/collections/{collection_id}")
def get_collection(collection_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """The collection of results."""
    _check_collection(collection_id)
    return _collection(context, caller)


@router.get(
    "/collections/{collection_id}/items", response_model=schemas.FeatureCollection, response_class=GeoJSONResponse
)
def list_items(
    collection_id: str,
    context: ContextOf,
    caller: CallerOf,
    page: PageOf,
    bbox: Bbox = None,
    datetime: Datetime = None,
) -> dict[str, Any]:
    """Items of results, the latest first."""
    _check_collection(collection_id)
    wanted = _wanted(page, bbox=bbox, datetime=datetime)
    return _found(context, caller, wanted, f"/collections/{COLLECTION}/items")


@router.get("/collections/{collection_id}/items/{item_id}", response_class=GeoJSONResponse)
def get_item(collection_id: str, item_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """The Item of one result."""
    _check_collection(collection_id)
    return _item(context.jobs.get(item_id, caller), context)


@router.get("/search", response_model=schemas.FeatureCollection, response_class=GeoJSONResponse)
def search(
    context: ContextOf,
    caller: CallerOf,
    page: PageOf,
    bbox: Bbox = None,
    datetime: Datetime = None,
    intersects: Annotated[str | None, Query(include_in_schema=False)] = None,
    collections: Names = (),
    ids: Names = (),
) -> dict[str, Any]:
    """Search the results."""
    try:
        geometry = None if intersects is None else json.loads(intersects)
    except (ValueError, RecursionError):
        raise Problem(400, "intersects: is not GeoJSON") from None
    wanted = _wanted(
        page,
        bbox=bbox,
        intersects=geometry,
        datetime=datetime,
        collections=[one for text in collections for one in text.split(",")] or None,
        ids=[one for text in ids for one in text.split(",")] or None,
    )
    return _found(context, caller, wanted, "/search")


@router.post("/search", response_model=schemas.FeatureCollection, response_class=GeoJSONResponse)
def search_by_post(wanted: ItemSearch, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Search the results."""
    return _found(context, caller, wanted, "/search", posted=True)


def _found(context: Context, caller: Caller, wanted: ItemSearch, path: str, *, posted: bool = False) -> dict[str, Any]:
    area = None if wanted.bbox is None else area_of_box(wanted.bbox)
    if wanted.intersects is not None:
        area = area_of_geojson(wanted.intersects)
    period = None if wanted.datetime is None else parse_period(wanted.datetime)
    matching = []
    if wanted.collections is None or COLLECTION in wanted.collections:
        for job in _with_items(context, caller):
            if wanted.ids is not None and job.id not in wanted.ids:
                continue
            item = _item(job, context)
            when = period_of_item(item["properties"])
            if area is not None and not _lies_in(item, area):
                continue
            if period is not None and (when is None or not when.overlaps(period)):
                continue
            matching.append(item)
    page = matching[wanted.offset : wanted.offset + wanted.limit]
    links = [context.link(path, "self", _GEOJSON), context.link("/", "root")]
    if wanted.offset + wanted.limit < len(matching):
        links.append(_next(context, wanted, path, posted=posted))
    return {
        "type": "FeatureCollection",
        "features": page,
        "links": links,
        "numberMatched": len(matching),
        "numberReturned": len(page),
    }


def _wanted(page: Page, *, bbox: str | None, **content: Any) -> ItemSearch:
    """Search by an address's parameters. Raises :class:`Problem`."""
    try:
        box = None if bbox is None else parse_box(bbox)
        return ItemSearch.model_validate({"bbox": box, "limit": page.limit, "offset": page.offset, **content})
    except ValidationError as error:
        raise Problem(400, explain(error.errors())) from error


def _with_items(context: Context, caller: Caller) -> list[Job]:
    """Jobs of a caller's that have an Item, the latest first."""
    jobs, _ = context.jobs.list(caller, (SUCCESSFUL,), -1, 0)
    return [job for job in jobs if "item" in job.files()]


def _lies_in(item: dict[str, Any], area: shapely.geometry.base.BaseGeometry) -> bool:
    geometry = item.get("geometry")
    return geometry is not None and bool(shapely.geometry.shape(geometry).intersects(area))


def _next(context: Context, wanted: ItemSearch, path: str, *, posted: bool) -> dict[str, Any]:
    content = wanted.model_dump(exclude_none=True)
    content["offset"] = wanted.offset + wanted.limit
    if posted:
        return {**context.link(path, "next", _GEOJSON), "method": "POST", "body": content, "merge": False}
    text = {
        name: json.dumps(value)
        if isinstance(value, dict)
        else ",".join(map(str, value))
        if isinstance(value, list)
        else value
        for name, value in content.items()
    }
    return {**context.link(f"{path}?{urlencode(text)}", "next", _GEOJSON), "method": "GET"}


def _item(job: Job, context: Context) -> dict[str, Any]:
    path = job.files().get("item")
    if job.status != SUCCESSFUL or path is None:
        raise Problem(404, "the job has no Item")
    content = read_item(path)
    names = {output.file for output in job.process.outputs.values()} | {path.name for path in job.files().values()}
    for asset in content["assets"].values():
        name = str(asset["href"]).rpartition("/")[2]
        if name in names:
            asset["href"] = context.url(f"/jobs/{job.id}/files/{name}")
    # Results of earlier versions have none.
    preview = job.process.preview
    if path.with_name(preview).exists():
        content["assets"]["thumbnail"] = {
            "href": context.url(f"/jobs/{job.id}/files/{preview}"),
            "type": "image/png",
            "title": "Preview",
            "roles": ["thumbnail"],
        }
    tiles = context.link(f"/jobs/{job.id}/map/WebMercatorQuad/tilejson.json", "tilejson")
    kept = [link for link in content["links"] if link.get("rel") == "derived_from"]
    return {
        **content,
        "id": job.id,
        "collection": COLLECTION,
        "links": [
            context.link(f"/collections/{COLLECTION}/items/{job.id}", "self", _GEOJSON),
            context.link(f"/collections/{COLLECTION}", "collection"),
            context.link(f"/collections/{COLLECTION}", "parent"),
            context.link("/", "root"),
            tiles,
            *kept,
        ],
    }


def _collection(context: Context, caller: Caller) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": "Super-resolved scenes",
        "description": "Products of this service. Detail finer than the source's resolution is estimated.",
        "license": "other",
        "itemType": "feature",
        "extent": extent_of([read_item(job.files()["item"]) for job in _with_items(context, caller)]),
        "links": [
            context.link(f"/collections/{COLLECTION}", "self"),
            context.link("/", "root"),
            context.link("/", "parent"),
            context.link(f"/collections/{COLLECTION}/items", "items", _GEOJSON),
        ],
    }


def _check_collection(collection_id: str) -> None:
    if collection_id != COLLECTION:
        raise Problem(404, f"there is no collection {collection_id[:80]}: there is {COLLECTION}")
