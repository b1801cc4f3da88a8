"""What is refused at the entrance, before a route or a key has been looked at."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosr.service.problems import Problem

#: Longest body of a request, bytes; areas as GeoJSON are the longest that is asked for.
MOST_BODY_BYTES = 2 * 2**20

#: The route that takes more, and has a limit of its own.
UPLOAD = "/scenes/upload"

_TOO_LONG = f"the body of the request is longer than {MOST_BODY_BYTES} bytes"


class BodyLimit:
    """Refuses bodies that are too long: routes read them whole, into memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == UPLOAD:
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > MOST_BODY_BYTES:
            await Problem(413, _TOO_LONG).response()(scope, receive, send)
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
