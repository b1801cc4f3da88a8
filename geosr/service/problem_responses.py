"""Problems as responses, ``application/problem+json``; every error of an application becomes one."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from catalog import CatalogError
from geosr.errors import GeosrError
from geosr.service.problems import Problem, explain, problem_of

_log = logging.getLogger(__name__)

#: Methods that a path of the OpenAPI document may have, beside what it says of all of them.
_METHODS = {"GET", "POST", "PATCH", "DELETE"}


def response_of(problem: Problem) -> JSONResponse:
    """Response that carries a problem."""
    content = {
        "type": problem.kind,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return JSONResponse(content, problem.status, problem.headers, media_type="application/problem+json")


def described(request: Request) -> list[dict[str, Any]]:
    """The OpenAPI document's entries for a request's path: each route knows its own method alone."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    # A path without parameters stands before those whose parameter it would be.
    exact = paths.get(request.url.path)
    if exact is not None:
        return [exact]
    return [methods for path, methods in paths.items() if compile_path(path)[0].match(request.url.path)]


def _methods_of(request: Request) -> list[str]:
    """Methods of all routes of a request's path."""
    found = {method.upper() for methods in described(request) for method in methods} & _METHODS
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def install(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return response_of(problem_of(error))

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return response_of(problem_of(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(await run_in_threadpool(_methods_of, request)) or headers.get("Allow", "")
        return response_of(Problem(error.status_code, str(error.detail), headers=headers))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response_of(Problem(400, explain(error.errors())))

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(CatalogError, known)
    app.add_exception_handler(GeosrError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unknown)
