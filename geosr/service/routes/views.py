"""Routes of a scene's pixels: tiles, single pixels, profiles, stretches, and addresses for other programs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from catalog.area import window_of
from geosr.errors import ModelError, UsageError
from geosr.service import schemas
from geosr.service.context import CallerOf, Context, ContextOf
from geosr.service.jobs.inputs import MOST_OTHERS
from geosr.service.live_scene import LiveScene
from geosr.service.messages import for_clients
from geosr.service.problems import Problem
from geosr.service.request_types import BandsText, BoxText, LimitsText, LineText
from geosr.service.results.period_and_area import area_of_box, parse_box
from geosr.service.routes.delivery import is_known
from geosr.service.sampling import percentiles
from geosr.service.security.api_keys import Caller
from geosr.service.tiles import live_tiles, render
from geosr.service.tiles.live_change import ChangeView
from geosr.service.tiles.live_tiles import TileView
from geosr.service.tiles.profile import parse_line, profile_of
from geosr.service.tiles.render import TileGrid
from geosr.service.tiles.wmts import WmtsLayer, capabilities

router = APIRouter(tags=["scenes"])

_PNG = "image/png"
_ATTRIBUTION = "Contains modified Copernicus Sentinel data"

#: Seconds for which browsers do not ask again whether a tile is still the same.
_TILE_FRESH_S = 600

Rescale = Annotated[
    LimitsText | None,
    Query(description="Reflectance (or index) from dark to bright, as 0,0.3; or three such pairs."),
]
Bands = Annotated[
    BandsText | None,
    Query(
        description="true-colour, false-colour, ndvi, ndwi, or one or three of the scene's bands, as B08,B04,B03.",
    ),
]
Sharpness = Annotated[
    Literal["0", "0.25", "0.5", "0.75", "1"],
    Query(description="Share of the model's visual weights; above 0 what is shown is not for measuring."),
]
Since = Annotated[
    str | None, Query(max_length=64, description="Of the layer change: id of the scene that is subtracted.")
]
_OTHERS = Query(
    pattern=rf"^[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+){{0,{MOST_OTHERS - 1}}}$",
    max_length=400,
    description="Ids of further scenes of the same place, with commas between them: of the layer dates.",
)
Percent = Annotated[float, Query(ge=0, le=100)]


@dataclass(frozen=True)
class LayerQuery:
    """Layer and colours of tiles, as they are asked for."""

    layer: live_tiles.TileLayer
    bands: str | None
    rescale: str | None
    sharpness: str
    since: str | None
    others: str | None = None

    def view(self, live: LiveScene) -> TileView:
        """The view of a scene. Raises :class:`Problem`, also for what does not go together."""
        if (self.layer == "change") != (self.since is not None):
            raise Problem(404, "since: names the earlier scene of the layer change, and goes with that layer alone")
        if (self.layer == "dates") != (self.others is not None):
            raise Problem(404, "others: names the further scenes of the layer dates, and goes with that layer alone")
        if self.sharpness != "0" and self.layer != "sr":
            raise Problem(404, "sharpness: goes with the layer sr alone")
        return TileView(self.layer, self.bands_of(live), live_tiles.parse_rescale(self.rescale), float(self.sharpness))

    def bands_of(self, live: LiveScene) -> str:
        """The bands that are shown."""
        return self.bands or live_tiles.default_bands(live.scene.names)

    def asked(self, live: LiveScene) -> str:
        """The query of a tile's address. Raises :class:`Problem`."""
        self.view(live)
        wanted = {
            "layer": self.layer,
            "bands": self.bands_of(live),
            "rescale": self.rescale,
            "since": self.since,
            "others": self.others,
        }
        shown = {name: value for name, value in wanted.items() if value}
        return urlencode(shown if self.sharpness == "0" else {**shown, "sharpness": self.sharpness}, safe=",")


def _address(request: Request, context: Context, live: LiveScene, query: LayerQuery, place: str) -> str:
    """Address of a layer's tiles. A key in the request's address goes on: programs that put it there send no headers.

    Raises :class:`Problem`.
    """
    asked, key = query.asked(live), request.query_params.get("api_key")
    if key and context.settings.with_keys:
        asked += f"&{urlencode({'api_key': key})}"
    return context.url(f"/scenes/{live.id}/tiles/{place}?{asked}")


async def _layer_query(
    layer: live_tiles.TileLayer = "sr",
    bands: Bands = None,
    rescale: Rescale = None,
    sharpness: Sharpness = "0",
    since: Since = None,
    others: Annotated[str | None, _OTHERS] = None,
) -> LayerQuery:
    return LayerQuery(layer, bands, rescale, sharpness, since, others)


async def _tile_grid(
    z: int, x: int, y: int, scale: Annotated[int, Query(ge=1, le=2, description="2 for tiles of 512 pixels.")] = 1
) -> TileGrid:
    return TileGrid(z, x, y, 256 * scale)


LayerQueryOf = Annotated[LayerQuery, Depends(_layer_query)]


@router.get("/scenes/{scene_id}/tilejson.json", response_model=schemas.TileJson)
def tilejson(
    request: Request, scene_id: str, context: ContextOf, caller: CallerOf, query: LayerQueryOf
) -> dict[str, Any]:
    """TileJSON 3.0 of a layer."""
    live = context.scenes.get(scene_id, caller)
    first, fine = live_tiles.zooms(live)
    bounds = list(live.bounds)
    return {
        "tilejson": "3.0.0",
        "name": f"{live.title}, {query.layer}",
        "tiles": [_address(request, context, live, query, "{z}/{x}/{y}")],
        "bounds": bounds,
        "center": [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, fine],
        "minzoom": max(first, fine - 1) if query.layer == "uncertainty" else first,
        "maxzoom": live_tiles.MAX_ZOOM,
        "attribution": _ATTRIBUTION,
    }


@router.get("/scenes/{scene_id}/wmts", response_class=Response, responses={200: {"content": {"application/xml": {}}}})
def wmts(
    request: Request,
    scene_id: str,
    context: ContextOf,
    caller: CallerOf,
    bands: Bands = None,
    rescale: Rescale = None,
) -> Response:
    """WMTS capabilities of a scene's layers, for programs that take no addresses with {z}/{x}/{y}."""
    live = context.scenes.get(scene_id, caller)
    shown = ["sr", "original", *(["uncertainty"] if live.calibrated else [])]
    layers = []
    for layer in shown:
        query = LayerQuery(layer, bands, rescale if layer != "uncertainty" else None, "0", None)  # type: ignore[arg-type]
        address = _address(request, context, live, query, "{TileMatrix}/{TileCol}/{TileRow}")
        layers.append(WmtsLayer(layer, f"{live.title}, {layer}", address, live.bounds))
    return Response(capabilities(layers, context.url(f"/scenes/{scene_id}/wmts")), media_type="application/xml")


@router.get("/scenes/{scene_id}/tiles/{z}/{x}/{y}", response_class=Response, responses={200: {"content": {_PNG: {}}}})
async def tile(
    request: Request,
    scene_id: str,
    grid: Annotated[TileGrid, Depends(_tile_grid)],
    query: LayerQueryOf,
    context: ContextOf,
    caller: CallerOf,
) -> Response:
    """A tile, super-resolved when it is asked for, of one date or of several; or the difference of two scenes."""
    live = await _opened(scene_id, context, caller)
    view = query.view(live)
    if query.others is not None:
        live, _ = await _registered(live, query.others, context, caller)
    if view.sharpness:
        # The card is read where that holds nobody up.
        try:
            await run_in_threadpool(live.model_at, view.sharpness)
        except (ModelError, UsageError) as error:
            raise Problem(404, for_clients(str(error))) from error
    if query.since is None:
        name, work = context.tiles.name(live, view, grid), context.tiles.tile(live, view, grid)
    else:
        change = ChangeView(await _opened(query.since, context, caller), live, view)
        name, work = change.name(context.tiles, grid), change.tile(context.tiles, grid)
    # A scene's id stands for its pixels; the model may be another after a start of the service.
    tag = f'"{hashlib.sha256(name.encode()).hexdigest()[:32]}"'
    headers = {"Cache-Control": f"private, max-age={_TILE_FRESH_S}", "ETag": tag}
    if is_known(request, tag):
        work.close()
        return Response(status_code=304, headers=headers)
    content = await unless_gone(request, work)
    return Response(content, media_type=_PNG, headers=headers)


@router.get("/scenes/{scene_id}/dates", response_model=list[schemas.DateReport])
async def dates(
    scene_id: str, context: ContextOf, caller: CallerOf, others: Annotated[str, _OTHERS]
) -> list[dict[str, Any]]:
    """Dates that make one image of a scene, the scene first: their shifts and weights, or why one takes no part."""
    live = await _opened(scene_id, context, caller)
    _, report = await _registered(live, others, context, caller)
    return [{**entry, "reason": for_clients(entry["reason"]) if "reason" in entry else None} for entry in report]


@router.get("/scenes/{scene_id}/point", response_model=schemas.Point)
async def point(
    scene_id: str,
    context: ContextOf,
    caller: CallerOf,
    lon: Annotated[float, Query(ge=-180, le=180)],
    lat: Annotated[float, Query(ge=-90, le=90)],
) -> dict[str, Any]:
    """DN and reflectance of a pixel before and after, and its half-width."""
    live = await _opened(scene_id, context, caller)
    return await context.tiles.point(live, lon, lat)


@router.get("/scenes/{scene_id}/profile", response_model=schemas.Profile)
async def profile(
    scene_id: str,
    context: ContextOf,
    caller: CallerOf,
    line: Annotated[LineText, Query(description="Longitude, latitude of one end, then of the other.")],
) -> dict[str, Any]:
    """Reflectance along a line, before and after."""
    live = await _opened(scene_id, context, caller)
    return await profile_of(context.tiles, live, parse_line(line))


@router.get("/scenes/{scene_id}/stretch", response_model=schemas.StretchLimits)
def stretch(
    scene_id: str,
    context: ContextOf,
    caller: CallerOf,
    bbox: Annotated[BoxText, Query(description="West, south, east, north in degrees: what is shown.")],
    bands: Bands = None,
    low: Percent = 2,
    high: Percent = 98,
) -> dict[str, Any]:
    """Percentiles of the source's pixels in a box, as ``rescale`` takes them."""
    if low >= high:
        raise Problem(404, "low: has to be below high")
    live = context.scenes.get(scene_id, caller)
    shown = bands or live_tiles.default_bands(live.scene.names)
    combination = render.combination_of(shown, live.scene.names)
    samples = live.samples(window_of(area_of_box(parse_box(bbox)), live.scene.geobox, f"scene {live.id}"))
    chosen = samples[[live.scene.names.index(band) for band in combination.bands]]
    if combination.index:
        chosen = render.normalised_difference(chosen)
    pairs = [percentiles(values, low, high) for values in chosen]
    numbers = [round(number, 5) for pair in pairs for number in pair]
    return {"rescale": ",".join(f"{number:g}" for number in numbers), "limits": [list(pair) for pair in pairs]}


async def _opened(scene_id: str, context: Context, caller: Caller) -> LiveScene:
    """A scene of a caller's. Raises as :meth:`geosr.service.scenes.Scenes.get`."""
    live = context.scenes.open_already(scene_id, caller)
    return live if live is not None else await run_in_threadpool(context.scenes.get, scene_id, caller)


async def _registered(
    live: LiveScene, others: str, context: Context, caller: Caller
) -> tuple[LiveScene, tuple[Mapping[str, Any], ...]]:
    """A scene as the reference of several dates, and the report on each. Raises :class:`Problem`."""
    named = dict.fromkeys(others.split(","))
    if live.id in named:
        raise Problem(404, f"others: {live.id} is the scene itself")
    return await context.tiles.registered(live, [await _opened(one, context, caller) for one in named])


async def unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """Result of some work; it ends when the client has gone, for maps give up what they no longer show."""
    making = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            # Nobody hears of it.
            raise Problem(408, "the client has gone")
        return making.result()
    finally:
        making.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
