"""The OpenAPI document, of 3.1 and of 3.0: what FastAPI makes of the routes, with errors and keys as they are here."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from geosr.service.jobs.processes import PROCESSES
from geosr.service.routes.execution_schema import execution_schema
from geosr.service.routes.result_tiles import CRS_PATTERN

#: Where the documents are, and their media types.
PATH, MEDIA_TYPE = "/api", "application/vnd.oai.openapi+json;version=3.1"
PATH_3_0, MEDIA_TYPE_3_0 = "/api/3.0", "application/vnd.oai.openapi+json;version=3.0"

_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "address": {
        "type": "apiKey",
        "in": "query",
        "name": "api_key",
        "description": "For programs that send no headers; it ends up in their logs.",
    },
}

#: Path for the execution of any process.
_EXECUTION = "/processes/{process_id}/execution"

_NULL = {"type": "null"}

#: Paths that need no key.
_OPEN = (
    "/",
    "/conformance",
    "/healthz",
    "/readyz",
    "/metrics",
    "/about",
    "/processes",
    "/processes/{process_id}",
    "/shared/{job_id}/{expires}/{signature}/{name}",
)


def definition(app: FastAPI, *, with_keys: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an application, made once."""
    if app.openapi_schema is None:
        document = _with_tuples(
            get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        )
        _describe_executions(document)
        _share_definitions(document)
        _describe_crs(document)
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _describe_problems(operation["responses"])
                if with_keys and path not in _OPEN:
                    operation["security"] = [{name: []} for name in _SCHEMES]
        if with_keys:
            document["components"]["securitySchemes"] = _SCHEMES
        app.openapi_schema = document
    return app.openapi_schema


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """A document of OpenAPI 3.1 as one of 3.0, whose schemas have no null, no tuples and no constants."""
    return {**_older(document), "openapi": "3.0.3"}


def _describe_executions(document: dict[str, Any]) -> None:
    """One path for the execution of each process, with its own inputs, instead of one for all."""
    operation = document["paths"].pop(_EXECUTION)["post"]
    for process in PROCESSES.values():
        if not process.offered:
            continue
        schema = execution_schema(process)
        document["paths"][_EXECUTION.replace("{process_id}", process.id)] = {
            "post": {
                **operation,
                "summary": process.title,
                "operationId": f"execute_{process.id}",
                "parameters": [one for one in operation.get("parameters", []) if one["name"] != "process_id"],
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": copy.deepcopy(operation["responses"]),
            }
        }


def _share_definitions(document: dict[str, Any]) -> None:
    """Move the schemas that bodies refer to where the document keeps them."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                document["components"]["schemas"] |= content.get("schema", {}).pop("$defs", {})


def _describe_crs(document: dict[str, Any]) -> None:
    """Say of titiler's parameters which CRS are taken."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"].endswith("crs"):
                    parameter["schema"] = {"type": "string", "pattern": f"^({CRS_PATTERN})$"}


def _describe_problems(responses: dict[str, Any]) -> None:
    # Requests that make no sense are answered with 400, like all that cannot be understood.
    responses.pop("422", None)
    for status in ("4XX", "5XX"):
        content = responses[status]["content"]
        responses[status]["content"] = {"application/problem+json": content.pop("application/json", content)}


def _with_tuples(part: Any) -> Any:
    """Schemas whose tuples are those of 3.1: older libraries list them as ``items``."""
    if isinstance(part, list):
        return [_with_tuples(one) for one in part]
    if not isinstance(part, dict):
        return part
    made = {name: _with_tuples(value) for name, value in part.items()}
    if isinstance(made.get("items"), list):
        made["prefixItems"] = made.pop("items")
    return made


def _older(part: Any) -> Any:
    if isinstance(part, list):
        return [_older(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part == _NULL:
        return {"enum": [None], "nullable": True}
    made = {name: _older(value) for name, value in part.items()}
    if isinstance(part.get("anyOf"), list) and _NULL in part["anyOf"]:
        others = [_older(one) for one in part["anyOf"] if one != _NULL]
        del made["anyOf"]
        # Beside a reference, 3.0 sees nothing.
        alone = len(others) == 1 and "$ref" not in others[0]
        made = {**made, **others[0], "nullable": True} if alone else {**made, "anyOf": others, "nullable": True}
    if isinstance(made.get("prefixItems"), list):
        made["items"] = {"anyOf": made.pop("prefixItems")}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    for limit, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(limit), int | float) and not isinstance(made[limit], bool):
            made[plain], made[limit] = made[limit], True
    if isinstance(made.get("examples"), list):
        made["example"] = made.pop("examples")[0]
    made.pop("contentMediaType", None)
    return made
