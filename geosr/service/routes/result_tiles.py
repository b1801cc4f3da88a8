"""Finished products as map tiles, statistics and TileJSON, by titiler, within limits and as far as clients need it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.routing import APIRoute
from rasterio._err import CPLE_BaseError

from geosr.change.situation_map import COLOURS
from geosr.service.context import CallerOf, Context, ContextOf
from geosr.service.jobs.processes import CHANGE
from geosr.service.jobs.record import SUCCESSFUL
from geosr.service.problems import Problem
from geosr.service.tiles.bounded_reader import BoundedReader
from geosr.service.tiles.titiler_import import (
    BidxExprParams,
    ColorMapParams,
    DefaultDependency,
    HistogramParams,
    PointOutsideBounds,
    PreviewParams,
    RioTilerError,
    TileOutsideBounds,
    TilerFactory,
)

#: Pixels along a side at most of what statistics are taken from, and of a tile; and around that.
_MOST_COUNTED_PX = 2048
_MOST_SHOWN_PX = 1024
_MOST_AROUND_PX = 128

#: Bands that are read at most, and that are computed, which takes eight bytes a pixel and more; letters of what they
#: are computed by, and bars of a histogram.
_MOST_BANDS = 16
_MOST_COMPUTED = 4
_MOST_LETTERS = 500
_MOST_BARS = 1000

#: titiler's routes that are kept. Statistics of shapes and pictures of boxes have no limit to their memory, and lists
#: of tilesets are pages that load parts from elsewhere.
_KEPT = frozenset({"info", "info_geojson", "statistics", "tile", "tilejson", "point"})

#: A CRS by its code, or by OGC's address of it, which PROJ knows without fetching it. GDAL takes other addresses for
#: files to fetch, and holds the whole process while it waits for them.
CRS_PATTERN = (
    r"(EPSG|ESRI|OGC|IAU_[0-9]{4}):[A-Za-z0-9_]{1,12}"
    r"|https?://(www\.)?opengis\.net/def/crs/(EPSG|OGC|IAU)/[0-9.]{1,8}/[A-Za-z0-9_]{1,12}"
)
_CRS = re.compile(CRS_PATTERN, re.IGNORECASE | re.ASCII)

_log = logging.getLogger(__name__)


def add_result_tiles(app: FastAPI) -> None:
    """Map tiles of finished jobs; a job's id stands for its file, and no address is taken."""
    factory = _ResultTiler(
        reader=BoundedReader,
        path_dependency=_raster,
        router=APIRouter(tags=["result tiles"], route_class=_Route),
        environment_dependency=lambda: {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"},
        layer_dependency=_Layers,
        tile_dependency=_Tile,
        img_preview_dependency=_Size,
        histogram_dependency=_Bars,
        colormap_dependency=_colours,
        # What is done to pixels are expressions; titiler's algorithms are for terrain.
        process_dependency=lambda: None,
        add_viewer=False,
        add_preview=False,
        add_part=False,
    )
    factory.router.routes[:] = [
        route
        for route in factory.router.routes
        if isinstance(route, APIRoute) and route.name in _KEPT and route.methods == {"GET"}
    ]
    app.include_router(factory.router, prefix="/jobs/{job_id}/map")


def _raster(
    job_id: str,
    context: ContextOf,
    caller: CallerOf,
    output: Annotated[str | None, Query(description="A raster of its outputs; by default the product or map.")] = None,
) -> str:
    """The file that is shown of a job. Raises :class:`Problem`."""
    job = context.jobs.get(job_id, caller)
    shown = job.process.main if output is None else output
    found = job.files().get(shown) if shown in job.process.rasters else None
    if job.status != SUCCESSFUL or found is None:
        raise Problem(404, "the job has no such raster")
    return str(found)


def _colours(
    job_id: str,
    context: ContextOf,
    caller: CallerOf,
    output: Annotated[str | None, Query()] = None,
    asked: Annotated[Any, Depends(ColorMapParams)] = None,
) -> Any:
    """Colours that are asked for, or those of the classes of change: a GeoTIFF's own table has no clear colour."""
    if asked is not None:
        return asked
    job = context.jobs.get(job_id, caller)
    is_map = job.process_id == CHANGE and output in (None, job.process.main)
    return {kind: (*colour, 255) for kind, colour in enumerate(COLOURS, 1)} if is_map else None


class _ResultTiler(TilerFactory):
    """titiler's routes, whose links have the service's own address, not that of a request's headers."""

    def url_for(self, request: Request, name: str, **path_params: Any) -> str:
        context: Context = request.app.state.context
        path = self.router.url_path_for(name, **path_params)
        return context.url(f"/jobs/{request.path_params['job_id']}/map{path}")


class _Route(APIRoute):
    """Makes problems of what titiler raises: it reads files of ours, so that it fails by what a client asks for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            _check_crs(request)
            try:
                return await handle(request)
            except (TileOutsideBounds, PointOutsideBounds) as error:
                raise Problem(404, "the result has nothing there") from error
            except (RioTilerError, CPLE_BaseError, ValueError, TypeError, LookupError, ArithmeticError) as error:
                _log.debug("%s was refused", request.url.path, exc_info=error)
                raise Problem(
                    400, " ".join(str(error).split()) or "what is asked of the raster makes no sense"
                ) from error

        return handled


def _check_crs(request: Request) -> None:
    """Refuse a CRS that is not named by its code. Raises :class:`Problem`."""
    for name, value in request.query_params.multi_items():
        if name.lower().endswith("crs") and value and not _CRS.fullmatch(value):
            raise Problem(400, f"{name[:20]}: is not the code of a CRS, as EPSG:4326")


@dataclass
class _Layers(BidxExprParams):
    """Bands that are shown, or an expression of them."""

    indexes: Annotated[list[int] | None, Query(alias="bidx", max_length=_MOST_BANDS)] = None
    expression: Annotated[
        str | None, Query(max_length=_MOST_LETTERS, description="Of bands, as (b4-b3)/(b4+b3); several with ; between.")
    ] = None

    def __post_init__(self) -> None:
        text = self.expression or ""
        if text.count(";") >= _MOST_COMPUTED:
            raise Problem(400, f"expression: up to {_MOST_COMPUTED} bands are computed")
        # Powers of whole numbers are computed before pixels are, for as long as that takes.
        if "**" in text:
            raise Problem(400, "expression: powers are not taken, write products")


@dataclass
class _Tile(DefaultDependency):
    """A tile's size, and what is read around it."""

    buffer: Annotated[
        float | None, Query(gt=0, le=_MOST_AROUND_PX, description="Pixels more on each side, in steps of 0.5.")
    ] = None
    padding: Annotated[
        int | None, Query(gt=0, le=_MOST_AROUND_PX, description="Pixels that are read on each side, and not shown.")
    ] = None
    tilesize: Annotated[int | None, Query(gt=0, le=_MOST_SHOWN_PX, description="Pixels along a side.")] = None

    def as_dict(self, exclude_none: bool = True) -> dict[str, Any]:
        # titiler takes the size from the request itself; here it is held within limits.
        return {name: value for name, value in super().as_dict(exclude_none).items() if name != "tilesize"}


@dataclass
class _Size(PreviewParams):
    """Size of the image that statistics are taken from."""

    max_size: Annotated[int, Query(gt=0, le=_MOST_COUNTED_PX, description="Pixels along the longer side.")] = 1024
    height: Annotated[int | None, Query(gt=0, le=_MOST_COUNTED_PX)] = None
    width: Annotated[int | None, Query(gt=0, le=_MOST_COUNTED_PX)] = None

    def __post_init__(self) -> None:
        # The other would follow from the raster's shape, without a limit.
        if (self.width is None) != (self.height is None):
            raise Problem(400, "give both width and height, or max_size")
        super().__post_init__()  # type: ignore[no-untyped-call]


@dataclass
class _Bars(HistogramParams):
    """Histograms."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        if isinstance(self.bins, int) and self.bins > _MOST_BARS:
            raise Problem(400, f"histogram_bins: up to {_MOST_BARS} are counted")
