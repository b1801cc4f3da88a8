"""Routes of fields: uploads, outlines, and an index of a field on one date."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from catalog import AreaError
from geosr.service import fields, schemas
from geosr.service.context import CallerOf, ContextOf, client_of
from geosr.service.geojson import FIELDS
from geosr.service.messages import for_clients
from geosr.service.problems import Problem
from geosr.service.request_types import REFERENCE
from geosr.service.routes.receiving import received
from geosr.service.vector_uploads import MOST_BYTES

router = APIRouter(tags=["fields"])


class FieldSet(BaseModel):
    """Fields of one file."""

    id: str
    title: str
    fields: int
    """Number of them."""


class FieldValues(BaseModel):
    """Index of a field on one date; null where nothing was measured or is known."""

    scene: str
    datetime: str | None
    index: str
    mean: float | None
    half_width: float | None
    median: float | None
    std: float | None
    level: float | None
    area_ha: float | None
    nodata_share: float | None
    source_mean: float | None


@router.post(
    "/fields",
    status_code=201,
    response_model=FieldSet,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/geo+json": {"schema": FIELDS.json_schema(ref_template=REFERENCE)},
                "application/geopackage+sqlite3": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def upload_fields(
    request: Request,
    response: Response,
    context: ContextOf,
    caller: CallerOf,
    title: Annotated[str, Query(max_length=120)] = "fields",
    id: Annotated[str | None, Query(min_length=1, max_length=100, description="Column that names the fields.")] = None,
) -> dict[str, Any]:
    """Keep the polygons of a GeoJSON or GeoPackage, which is the body of the request."""
    _check_offered()
    context.upload_rates.take(client_of(caller, request))
    with tempfile.TemporaryDirectory(dir=context.scenes.folder, prefix=".fields-") as folder:
        path = Path(folder) / "fields"
        await received(request, path, MOST_BYTES)
        try:
            made = await run_in_threadpool(context.fields.add, path, title, id, caller)
        except AreaError as error:
            raise Problem(409, for_clients(str(error))) from error
    response.headers["Location"] = context.url(f"/fields/{made['id']}")
    return made


@router.get("/fields", response_model=list[FieldSet])
def list_fields(context: ContextOf, caller: CallerOf) -> list[dict[str, Any]]:
    """A caller's sets of fields, the latest first."""
    return context.fields.list(caller)


@router.get("/fields/{fields_id}", response_model=schemas.FeatureCollection)
def get_fields(fields_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Outlines of fields in degrees, as GeoJSON."""
    return context.fields.geojson(fields_id, caller)


@router.delete("/fields/{fields_id}", status_code=204)
def remove_fields(fields_id: str, context: ContextOf, caller: CallerOf) -> None:
    """Forget a set of fields."""
    context.fields.remove(fields_id, caller)


@router.get("/scenes/{scene_id}/fields/{fields_id}/{number}", response_model=FieldValues)
async def get_values(
    scene_id: str,
    fields_id: str,
    number: int,
    context: ContextOf,
    caller: CallerOf,
    index: Literal["ndvi", "ndwi", "ndre", "nbr"] = "ndvi",
) -> dict[str, Any]:
    """An index of a field on a scene's date: its mean with the half-width, and its mean at the source's pixels."""
    _check_offered()
    # It loads SciPy, which the page need not wait for.
    from geosr.service.tiles.field_values import field_values

    live = await run_in_threadpool(context.scenes.get, scene_id, caller)
    field = await run_in_threadpool(context.fields.field, fields_id, number, caller)
    return await field_values(context.tiles, live, field, index)


def _check_offered() -> None:
    if not fields.offered():
        raise Problem(404, "this service is installed without what fields need: the extra fields")
