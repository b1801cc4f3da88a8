"""Problems that clients are told (RFC 9457); one table says which error has which status.

Imports no web framework: a job's process needs none.
"""

from __future__ import annotations

from typing import Any

from catalog import (
    AreaError,
    CatalogError,
    NothingFoundError,
    RequestError,
    SearchError,
    SourceError,
    UnreachableError,
)
from geosr.errors import DeviceError, GeosrError, ModelError, UsageError
from geosr.service.messages import for_clients

_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"

#: The types of problem that OGC API – Processes names.
NO_SUCH_PROCESS = f"{_OGC}/no-such-process"
NO_SUCH_JOB = f"{_OGC}/no-such-job"
RESULT_NOT_READY = f"{_OGC}/result-not-ready"

#: From the most special to the most general.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (RequestError, 400),
    (AreaError, 404),
    (UsageError, 400),
    (ModelError, 400),
    (UnreachableError, 502),
    (NothingFoundError, 404),
    (SearchError, 502),
    (SourceError, 400),
    (CatalogError, 400),
    (DeviceError, 503),
    (GeosrError, 500),
)


class Problem(Exception):  # noqa: N818
    """An answer that says what is wrong."""

    def __init__(
        self, status: int, detail: str, *, kind: str = "about:blank", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = headers or {}


def busy(detail: str, seconds: int = 2) -> Problem:
    """The service has too much to do for a moment."""
    return Problem(503, detail, headers={"Retry-After": str(seconds)})


def too_many(detail: str, seconds: int) -> Problem:
    """A limit of the client's is reached."""
    return Problem(429, detail, headers={"Retry-After": str(max(1, seconds))})


def problem_of(error: Exception) -> Problem:
    """Problem that a client gets for an error."""
    if isinstance(error, Problem):
        return error
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return Problem(status, for_clients(str(error)))
    return Problem(500, "internal error: the log of the service says more")


def explain(errors: Any) -> str:
    """The first of pydantic's complaints in one line."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
