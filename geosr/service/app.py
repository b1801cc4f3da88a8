"""The application: its parts put together, its landing page, and its health."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import diskcache  # type: ignore[import-untyped]
from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import catalog
from catalog import Restriction
from geosr.errors import ModelError, UsageError
from geosr.service import fields, metrics, openapi, problem_responses, problems, schemas
from geosr.service.context import Context
from geosr.service.database import Database
from geosr.service.fields import FieldSets
from geosr.service.head import HeadAsGet
from geosr.service.jobs.callbacks import Callbacks
from geosr.service.jobs.processes import CHANGE, PROCESSES
from geosr.service.jobs.queue import Jobs
from geosr.service.routes import fields as routes_fields
from geosr.service.routes import processes, result_tiles, result_wmts, results, views
from geosr.service.routes import scenes as routes_scenes
from geosr.service.routes.processes import CONFORMANCE, announcement_of
from geosr.service.routes.results import STAC_CONFORMANCE
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Rates
from geosr.service.security.egress_proxy import Egress
from geosr.service.security.request_guard import BodyLimit, OwnPages, refuse_repeated
from geosr.service.security.signed_links import SignedLinks
from geosr.service.settings import ServiceSettings
from geosr.service.tiles.live_chunks import LiveChunks
from geosr.service.tiles.live_tiles import Tiles
from geosr.version import VERSION

_log = logging.getLogger("geosr.service.requests")

#: What the page may load: itself, and a basemap where there is one. Map tiles become pictures by way of blobs, and
#: their work is done in workers.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:{basemap}; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'{basemap}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


#: Headers that scripts of other pages may read; those of ranges are what readers of COGs in a browser need.
_EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Last-Modified",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
)


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service. What runs beside its requests begins and ends with the application.

    Raises :class:`geosr.errors.UsageError` when the folder of its data cannot be used, or there is no such model.
    """
    try:
        _ = settings.model_ref.card
    except ModelError as error:
        raise UsageError(f"settings of the service: model: {error}") from error
    database = Database(settings.data)
    lock = _lock(settings.data)
    egress = Egress((*settings.hosts, *settings.callback_hosts), settings.private_hosts)
    cache = diskcache.Cache(str(settings.data / "cache"), size_limit=settings.cache_bytes, tag_index=True)
    scenes = Scenes(database, settings)
    chunks = LiveChunks(cache, settings.live_core_px, settings.live_waiting)
    callbacks = Callbacks(settings.callback_hosts, lambda job: announcement_of(job, context))
    field_sets = FieldSets(database, settings.data / "fields")
    jobs = Jobs(database, settings, scenes, egress, callbacks, field_sets.expire)
    context = Context(
        settings,
        database,
        cache,
        scenes,
        field_sets,
        Tiles(chunks, cache, settings.tile_wait_s),
        jobs,
        rates=Rates(settings.requests_per_minute),
        order_rates=Rates(settings.orders_per_hour, 3600, "orders in this hour"),
        upload_rates=Rates(settings.uploads_per_hour, 3600, "new scenes and fields in this hour"),
        refusal_rates=Rates(settings.refused_keys_per_minute, 60, "requests without a key that holds"),
        signed_links=SignedLinks(settings.data, settings.link_hours),
    )

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        egress.start()
        egress.take_over()
        catalog.restrict(Restriction((scenes.folder,), settings.allowed_hosts))
        await run_in_threadpool(scenes.tidy)
        await run_in_threadpool(field_sets.tidy)
        if settings.demo:
            await run_in_threadpool(scenes.add_demo)
        chunks.start()
        jobs.start()
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            await run_in_threadpool(jobs.stop)
            await run_in_threadpool(chunks.stop)
            context.tiles.dated.stop()
            egress.stop()
            catalog.restrict(None)
            cache.close()
            database.close()
            lock.close()

    app = FastAPI(
        title="geosr",
        version=VERSION,
        description="Super-resolution of satellite imagery: live tiles, and jobs by OGC API – Processes.",
        lifespan=running,
        openapi_url=openapi.PATH,
        dependencies=[Depends(refuse_repeated)],
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"model": schemas.ProblemDetails, "description": "What was asked cannot be answered"},
            "5XX": {"model": schemas.ProblemDetails, "description": "The service failed, or is busy"},
        },
    )
    app.state.context = context
    app.state.ready = False
    problem_responses.install(app)
    # The last is the outermost: what is refused is counted and logged as well.
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit)
    if not settings.with_keys:
        app.add_middleware(OwnPages, settings)
    app.add_middleware(_Observed, settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED),
        )
    _add_own_routes(app, context, chunks)
    app.include_router(routes_scenes.router)
    app.include_router(views.router)
    app.include_router(routes_fields.router)
    app.include_router(processes.router)
    app.include_router(results.router)
    result_tiles.add_result_tiles(app)
    app.include_router(result_wmts.router)
    app.mount("/page", StaticFiles(directory=str(files("geosr") / "service" / "page")), name="page")
    app.openapi = lambda: openapi.definition(app, with_keys=settings.with_keys)  # type: ignore[method-assign]
    return app


def _lock(folder: Path) -> TextIO:
    """Keep a second service out of the folder; the lock goes with the process, however it ends."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(f"another service works in {folder}: give this one a folder of its own with --data") from error
    return lock


def _add_own_routes(app: FastAPI, context: Context, chunks: LiveChunks) -> None:
    @app.get("/", tags=["service"], response_model=None)
    def landing(request: Request, f: str | None = None) -> Response:
        """The page for browsers, links for programs."""
        accepted = request.headers.get("accept", "")
        if f == "html" or (f is None and "text/html" in accepted):
            page = str(files("geosr") / "service" / "page" / "index.html")
            return FileResponse(page, media_type="text/html")
        return JSONResponse(_landing(context))

    @app.get(openapi.PATH_3_0, include_in_schema=False)
    def definition_3_0() -> JSONResponse:
        """The OpenAPI document for clients that know 3.0."""
        return JSONResponse(openapi.as_3_0(app.openapi()), media_type=openapi.MEDIA_TYPE_3_0)

    @app.get("/conformance", tags=["service"], response_model=schemas.Conformance)
    def conformance() -> dict[str, Any]:
        """Standards that the service conforms to."""
        return {"conformsTo": [*CONFORMANCE, *STAC_CONFORMANCE]}

    @app.get("/healthz", tags=["service"])
    def health() -> dict[str, str]:
        """Answer that the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["service"])
    def ready(request: Request) -> dict[str, str]:
        """Answer whether requests can be served."""
        if not request.app.state.ready:
            raise problems.busy("the service starts or ends")
        stopped = [name for name, part in (("jobs", context.jobs), ("live tiles", chunks)) if not part.alive]
        if stopped:
            raise problems.busy(f"nothing is done any more for {' and '.join(stopped)}: start the service again", 60)
        context.jobs.counts()
        return {"status": "ready"}

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse)
    def prometheus() -> Response:
        """Counts for Prometheus."""
        for status, count in context.jobs.counts().items():
            metrics.JOBS.labels(status).set(count)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/about", tags=["service"])
    def about() -> dict[str, Any]:
        """Facts about the service that the page needs."""
        settings = context.settings
        return {
            "version": VERSION,
            "keys": settings.with_keys,
            "demo": settings.demo,
            "api": settings.api,
            "max_area_km2": settings.max_area_km2,
            "max_upload_bytes": settings.max_upload_bytes,
            "basemap": settings.basemap and {"tiles": settings.basemap, "credits": settings.basemap_credits},
            "places": settings.places is not None,
            "change": PROCESSES[CHANGE].offered,
            "fields": fields.offered(),
            "sensors": catalog.sensor_names(),
        }


def _landing(context: Context) -> dict[str, Any]:
    link = context.link
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "geosr",
        "title": "geosr",
        "description": "Super-resolution of satellite imagery: live tiles, and jobs by OGC API – Processes.",
        "conformsTo": [*CONFORMANCE, *STAC_CONFORMANCE],
        "links": [
            link("/", "self"),
            link("/", "root"),
            link(openapi.PATH_3_0, "service-desc", openapi.MEDIA_TYPE_3_0),
            link(openapi.PATH, "service-desc", openapi.MEDIA_TYPE),
            link("/?f=html", "service-doc", "text/html"),
            link("/conformance", "conformance"),
            link("/conformance", "http://www.opengis.net/def/rel/ogc/1.0/conformance"),
            link("/processes", "http://www.opengis.net/def/rel/ogc/1.0/processes"),
            link("/jobs", "http://www.opengis.net/def/rel/ogc/1.0/job-list"),
            link("/collections", "data"),
            link("/collections/results", "child"),
            {**link("/search", "search", "application/geo+json"), "method": "GET"},
            {**link("/search", "search", "application/geo+json"), "method": "POST"},
        ],
    }


class _Observed:
    """Count and log requests, and add headers that say what the page may do."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        parts = urlsplit(settings.basemap or "")
        elsewhere = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
        self._headers = [(b"content-security-policy", _POLICY.format(basemap=elsewhere).encode()), *_HEADERS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        finally:
            taken = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            metrics.REQUESTS.labels(scope["method"], route, status).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(taken)
            job = scope.get("path_params", {}).get("job_id")
            fields = {"status": status, "ms": round(1000 * taken, 1), "job": job}
            _log.info("%s %s", scope["method"], scope["path"], extra=fields)
