"""HEAD requests, answered wherever GET is: GDAL and QGIS ask so for a file's size before they read parts of it."""

from __future__ import annotations

from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The extension by which a server sends a file itself: nothing of the file is read then.
_BY_PATH = "http.response.pathsend"


class _AnsweredError(Exception):
    """Ends an application whose answer has been sent: what it would go on to read is for nobody."""


class HeadAsGet:
    """Answer HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if message.get("more_body", False):
                raise _AnsweredError

        asked = {
            **scope,
            "method": "GET",
            # Parts are of a body, which is not sent.
            "headers": [(name, value) for name, value in scope["headers"] if name != b"range"],
            "extensions": {**(scope.get("extensions") or {}), _BY_PATH: {}},
        }
        try:
            with suppress(_AnsweredError):
                await self._app(asked, receive, without_body)
        finally:
            # Who counts requests looks for their route here.
            scope.update({name: asked[name] for name in ("route", "path_params") if name in asked})
