"""Context of requests: the parts of the service, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import diskcache  # type: ignore[import-untyped]
from fastapi import Depends, Request

from geosr.service.database import Database
from geosr.service.fields import FieldSets
from geosr.service.jobs.queue import Jobs
from geosr.service.problems import Problem
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Caller, Rates, caller_of
from geosr.service.security.signed_links import SignedLinks
from geosr.service.settings import ServiceSettings
from geosr.service.tiles.live_tiles import Tiles


@dataclass
class Context:
    """The parts of a running service."""

    settings: ServiceSettings
    database: Database
    cache: diskcache.Cache
    scenes: Scenes
    fields: FieldSets
    tiles: Tiles
    jobs: Jobs
    rates: Rates
    order_rates: Rates
    upload_rates: Rates
    refusal_rates: Rates
    signed_links: SignedLinks

    def url(self, path: str) -> str:
        """The address of a path, as clients have it."""
        settings = self.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return (settings.public_url or f"http://{host}:{settings.port}").rstrip("/") + path

    def link(self, path: str, rel: str, media: str = "application/json") -> dict[str, str]:
        """A link to a path."""
        return {"href": self.url(path), "rel": rel, "type": media}


async def context_of(request: Request) -> Context:
    """The context of a request's application."""
    found: Context = request.app.state.context
    return found


ContextOf = Annotated[Context, Depends(context_of)]


def address_of(request: Request) -> str:
    """The address that a request comes from; empty where there is none."""
    return request.client.host if request.client else ""


def client_of(caller: Caller, request: Request) -> str:
    """The key whose rate is counted, or the address where there are no keys."""
    return caller.key_id or address_of(request)


async def _caller(request: Request, context: ContextOf) -> Caller:
    """Identify the caller and count the request. Raises :class:`geosr.service.problems.Problem`."""
    if not context.settings.with_keys:
        caller = Caller(None)
    else:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        # Desktop programs put map tiles' addresses together, and send no headers.
        key = request.headers.get("x-api-key") or bearer or request.query_params.get("api_key")
        try:
            caller = caller_of(context.database, key)
        except Problem:
            # Who guesses keys gets no answer any more, for a while.
            context.refusal_rates.take(address_of(request))
            raise
    context.rates.take(client_of(caller, request))
    return caller


CallerOf = Annotated[Caller, Depends(_caller)]
