"""Guard of requests: refusals before a route or a key has been looked at."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosr.service.problem_responses import described, response_of
from geosr.service.problems import Problem
from geosr.service.settings import ServiceSettings, is_loopback

#: Longest body of a request, bytes; areas as GeoJSON are the longest that is asked for.
MOST_BODY_BYTES = 2 * 2**20

#: Routes that take more, and have limits of their own.
UPLOADS = ("/scenes/upload", "/fields")

_TOO_LONG = f"the body of the request is longer than {MOST_BODY_BYTES} bytes"


class BodyLimit:
    """Refuses bodies that are too long: routes read them whole, into memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UPLOADS:
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > MOST_BODY_BYTES:
            await response_of(Problem(413, _TOO_LONG))(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BODY_BYTES:
                # Not a Problem: of what is raised while a body is read, FastAPI lets this kind alone pass.
                raise HTTPException(413, _TOO_LONG)
            return message

        await self._app(scope, counted, send)


async def refuse_repeated(request: Request) -> None:
    """Refuse a parameter that is given twice and is no list: which of its values counts would be a guess.

    Raises :class:`Problem`.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    twice = {name for name in names if names.count(name) > 1}
    if not twice:
        return
    operations = [one.get(request.method.lower(), {}) for one in await run_in_threadpool(described, request)]
    parameters = [one for operation in operations for one in operation.get("parameters", [])]
    lists = {one["name"] for one in parameters if _is_list(one["schema"])}
    for name in sorted(twice - lists):
        raise Problem(400, f"{name[:80]}: is given more than once")


def _is_list(schema: dict[str, Any]) -> bool:
    return any(one.get("type") == "array" for one in (schema, *schema.get("anyOf", ())))


class OwnPages:
    """Refuse requests that foreign pages let a browser send, where there are no keys: it reaches what they do not.

    Programs that are no browsers send no Origin. On loopback the Host has to be the machine itself as well: a name of
    someone else's that leads there makes a page of theirs look like one of the service's own.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._loopback = settings.loopback
        public = urlsplit((settings.public_url or "").lower())
        self._public_host = public.hostname
        self._origins = {origin.lower().rstrip("/") for origin in settings.cors_origins}
        if public.netloc:
            self._origins.add(f"{public.scheme}://{public.netloc}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._refusal(headers.get("host", "").lower(), headers.get("origin", "").lower())
            if refusal is not None:
                await response_of(Problem(403, refusal))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, host: str, origin: str) -> str | None:
        """Reason to refuse a request; None for one that is not refused."""
        if self._loopback and host and not self._is_here(_name_in(f"//{host}")):
            return f"the service is not known as {host[:200]}: public_url names the address that it has behind a proxy"
        own = host and origin in (f"http://{host}", f"https://{host}")
        if origin and not own and origin not in self._origins and "*" not in self._origins:
            return f"pages of {origin[:200]} may not ask this service: cors_origins names those that may"
        return None

    def _is_here(self, name: str) -> bool:
        return is_loopback(name) or name == self._public_host


def _name_in(address: str) -> str:
    """The host of an address without its port; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
