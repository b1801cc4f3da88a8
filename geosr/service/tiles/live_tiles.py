"""Live tiles: a scene's source, its super-resolution, and how far to believe that, on a web map's grid."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import diskcache  # type: ignore[import-untyped]
import numpy as np
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from starlette.concurrency import run_in_threadpool

import catalog
import tiling
from geosr.service import metrics
from geosr.service.cache import keep
from geosr.service.geography import pixels_at
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem, busy
from geosr.service.tiles import render
from geosr.service.tiles.live_chunks import ChunkKey, LiveChunk, LiveChunks, Patch
from geosr.service.tiles.live_dates import SEPARATOR, DatedScenes
from geosr.service.tiles.render import TileGrid

TileLayer = Literal["sr", "dates", "original", "uncertainty", "change"]

Limits = tuple[tuple[float, float], ...]

#: Source pixels around a tile that warping takes something from.
_PAD_PX = 2

#: Most source pixels that a tile is made of, along a side, and most chunks.
_MOST_SOURCE_PX = 2048
_MOST_CHUNKS = 36

MAX_ZOOM = 22

#: Pictures that are kept in memory as well: some tens of MB.
_KEPT_IN_MEMORY = 500


@dataclass(frozen=True)
class TileView:
    """Layer, bands and range that are shown of a scene."""

    layer: TileLayer
    bands: str
    rescale: Limits | None = None
    """Reflectance, or index, from dark to bright, one pair or one for each band; None for what suits the scene."""
    sharpness: float = 0
    """Share of the model's visual weights; above 0 the picture is to look at."""


class Tiles:
    """Makes tiles, and keeps them."""

    def __init__(self, chunks: LiveChunks, cache: diskcache.Cache, wait_s: float) -> None:
        self.chunks = chunks
        self._wait_s = wait_s
        self._cache = cache
        self._latest: dict[str, bytes] = {}
        """Pictures made last, in memory."""
        self.dated = DatedScenes()

    async def registered(
        self, live: LiveScene, others: Sequence[LiveScene]
    ) -> tuple[LiveScene, tuple[Mapping[str, Any], ...]]:
        """A scene as the reference of several dates, and the report on each, the reference first.

        Raises :class:`Problem`, :class:`geosr.errors.UsageError` or :class:`catalog.CatalogError`.
        """
        dated, registration = self.dated.get(live, others)
        try:
            # Shielded, for others may wait for the same.
            dates = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(registration)), self._wait_s)
        except TimeoutError:
            raise busy("registering the dates takes long", 10) from None
        return dated, dates.report

    async def tile(self, live: LiveScene, view: TileView, grid: TileGrid) -> bytes:
        """A PNG. Raises :class:`Problem`."""
        return await self.kept(live, self.name(live, view, grid), lambda: self._make(live, view, grid))

    async def kept(self, live: LiveScene, name: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The PNG of a name, made where it is not kept."""
        kept: bytes | None = self._latest.get(name)
        if kept is None:
            kept = await run_in_threadpool(self._cache.get, name)
            if kept is not None:
                self._remember(name, kept)
        if kept is not None:
            metrics.TILES.labels("cached").inc()
            return kept
        made = await make()
        metrics.TILES.labels("made").inc()
        await run_in_threadpool(keep, self._cache, name, made, tag=live.id)
        self._remember(name, made)
        return made

    def name(self, live: LiveScene, view: TileView, grid: TileGrid) -> str:
        """Identity of a tile, also by the model that made it."""
        shown = f"{view.layer}/{view.bands}/{view.rescale}/{grid.side_px}/{grid.z}/{grid.x}/{grid.y}"
        return f"tile/{live.id}/{self.chunks.made_by(live, view.sharpness)}/{shown}"

    def forget(self, scene_id: str) -> None:
        """Keep nothing of a scene."""
        self.dated.forget(scene_id)
        self._cache.evict(scene_id)
        # What several dates made has the tag of all of them.
        for name in self._cache.iterkeys():
            if _is_of(name, scene_id):
                self._cache.delete(name)
        # Of a copy, for tiles are made meanwhile.
        for name in list(self._latest):
            if _is_of(name, scene_id):
                self._latest.pop(name, None)

    def _remember(self, name: str, image: bytes) -> None:
        self._latest[name] = image
        while len(self._latest) > _KEPT_IN_MEMORY:
            del self._latest[next(iter(self._latest))]

    async def _make(self, live: LiveScene, view: TileView, grid: TileGrid) -> bytes:
        combination = render.combination_of(view.bands, live.scene.names)
        window = window_under(live, grid)
        if window is None:
            return render.empty_tile(grid.side_px)
        if view.layer == "original" or (view.layer in ("sr", "dates") and not magnifies(live, grid)):
            patch = await run_in_threadpool(source_patch, live, window)
        else:
            patch = await self._fine(live, window, view)
        return await run_in_threadpool(_draw, live, view, combination, patch, grid)

    async def point(self, live: LiveScene, longitude: float, latitude: float) -> dict[str, Any]:
        """DN and reflectance at a place before and after, with half-widths where they are known.

        Raises :class:`Problem` outside the scene.
        """
        (row,), (col,) = pixels_at(live.scene.geobox, np.array([longitude]), np.array([latitude]))
        rows, cols = live.scene.geobox.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise Problem(404, "the scene has no pixel there")
        window = Window(int(col), int(row), 1, 1)
        pixels, valid = await run_in_threadpool(live.read, window)
        chunks = await self.computed(live, self.chunks.keys_of(live, window, uncertainty=live.calibrated))
        scale = live.upscaler.scale
        fine = int((row - int(row)) * scale), int((col - int(col)) * scale)
        after = self.chunks.assemble(live, window, chunks, half_width=False)
        widths = self.chunks.assemble(live, window, chunks, half_width=True) if live.calibrated else None
        found = []
        before_r, after_r = live.reflectance(pixels), live.reflectance(after.pixels)
        for i, band in enumerate(live.scene.bands):
            entry: dict[str, Any] = {"name": band.name, "before": None, "after": None, "half_width": None}
            if valid[i, 0, 0]:
                entry["before"] = _value(pixels[i, 0, 0], before_r[i, 0, 0])
            if after.valid[i][fine]:
                entry["after"] = _value(after.pixels[i][fine], after_r[i][fine])
            if widths is not None and widths.valid[i][fine]:
                dn = float(widths.pixels[i][fine])
                entry["half_width"] = _value(dn, dn * abs(band.scale))
            found.append(entry)
        return {
            "lon": longitude,
            "lat": latitude,
            "source_pixel": [int(col), int(row)],
            "pixel": [int(col) * scale + fine[1], int(row) * scale + fine[0]],
            "bands": found,
        }

    async def _fine(self, live: LiveScene, window: Window, view: TileView) -> Patch:
        half_width = view.layer == "uncertainty"
        if half_width and not live.calibrated:
            raise Problem(404, f"model {live.model.model.name} has no calibrated half-widths")
        if half_width and view.sharpness:
            raise Problem(404, "half-widths are calibrated for sharpness 0 alone")
        keys = self.chunks.keys_of(live, window, uncertainty=half_width, sharpness=view.sharpness)
        chunks = await self.computed(live, keys)
        return await run_in_threadpool(self.chunks.assemble, live, window, chunks, half_width=half_width)

    async def computed(self, live: LiveScene, keys: Sequence[ChunkKey]) -> dict[ChunkKey, LiveChunk]:
        """Chunks, computed where they are not kept. Raises :class:`Problem` for too many."""
        if len(keys) > _MOST_CHUNKS:
            raise Problem(404, "too much of the scene to be super-resolved at once: zoom in")
        futures: list[Future[LiveChunk]] = []
        try:
            for key in keys:
                futures.append(await run_in_threadpool(self.chunks.get, live, key))
            # Shielded, for others may wait for the same chunks when this request is given up.
            waited = [asyncio.shield(asyncio.wrap_future(future)) for future in futures]
            done = await asyncio.wait_for(asyncio.gather(*waited), self._wait_s)
        except TimeoutError:
            raise busy("the tile takes too long", 10) from None
        finally:
            # Also when the request is given up.
            for key, future in zip(keys, futures, strict=False):
                self.chunks.release(key, future)
        return dict(zip(keys, done, strict=True))


def _is_of(name: str, scene_id: str) -> bool:
    """Tell whether the name of a picture or chunk is of a scene, or of several dates with it."""
    return scene_id in name.split("/")[1].split(SEPARATOR)


def source_patch(live: LiveScene, window: Window) -> Patch:
    """The source's pixels of a window. Raises :class:`Problem` for too many."""
    if max(window.width, window.height) > _MOST_SOURCE_PX:
        raise Problem(404, "the tile shows too much of the scene: zoom in")
    pixels, valid = live.read(window)
    return Patch(pixels.astype(np.float32), valid, tiling.crop(live.scene.geobox, window))


def window_under(live: LiveScene, grid: TileGrid) -> Window | None:
    """The source pixels that a tile shows, and a few around; None where there are none."""
    geobox = live.scene.geobox
    bounds = transform_bounds(render.WEB_MERCATOR, str(geobox.crs), *grid.geobox.boundingbox.bbox, densify_pts=21)
    if not all(map(math.isfinite, bounds)):
        return None
    west, south, east, north = bounds
    corners = [~geobox.affine * corner for corner in ((west, north), (east, south))]
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    left, top = (max(0, math.floor(value) - _PAD_PX) for value in (left, top))
    right = min(geobox.shape.x, math.ceil(right) + _PAD_PX)
    bottom = min(geobox.shape.y, math.ceil(bottom) + _PAD_PX)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)


def magnifies(live: LiveScene, grid: TileGrid) -> bool:
    """Tell whether a tile's pixels are finer than the source's: otherwise super-resolution adds nothing."""
    return pixels_per(live, grid, 1) > 1


def zooms(live: LiveScene) -> tuple[int, int]:
    """Lowest zoom with tiles of a scene, and lowest zoom at which they are super-resolved."""
    # The equator is 40,075 km long, and away from it Mercator's metres are shorter.
    at_short, at_long = (
        math.log2(40_075_017 / 256 * math.cos(math.radians(_latitude(live))) / side_m) for side_m in _sides_m(live)
    )
    return max(0, math.ceil(at_short - math.log2(_MOST_SOURCE_PX / 256))), max(0, math.ceil(at_long))


def pixels_per(live: LiveScene, grid: TileGrid, scale: int) -> float:
    """Number of a tile's pixels for one pixel of a scene, along its longer side; of one ``scale`` times finer."""
    tile_m = render.ground_px_m(grid, _latitude(live))
    return _sides_m(live)[1] / scale / tile_m


def _sides_m(live: LiveScene) -> tuple[float, float]:
    """The shorter and the longer side of the source's pixels on the ground, metres."""
    geobox = live.scene.geobox
    # A grid whose CRS leads to no ellipsoid is taken as it is.
    sides = catalog.pixel_sides_m(geobox) or (abs(geobox.resolution.x), abs(geobox.resolution.y))
    return min(sides), max(sides)


def _latitude(live: LiveScene) -> float:
    """Latitude of a scene's middle, degrees."""
    _, south, _, north = live.bounds
    return (south + north) / 2


def _draw(live: LiveScene, view: TileView, combination: render.Combination, patch: Patch, grid: TileGrid) -> bytes:
    scale = round(live.scene.geobox.resolution.x / patch.geobox.resolution.x)
    magnification = pixels_per(live, grid, scale)
    indexes = [live.scene.names.index(band) for band in combination.bands]
    if view.layer == "uncertainty":
        widths = patch.pixels * np.array([abs(band.scale) for band in live.scene.bands], np.float32).reshape(-1, 1, 1)
        # What a user asks of a place is how wrong it may be: of the bands that are shown, the widest.
        widest = np.where(patch.valid, widths, -1)[indexes].max(axis=0, keepdims=True)
        shown, there = render.warp(widest, widest >= 0, patch.geobox, grid, magnification)
        limits = limits_for(view, (render.HALF_WIDTH_RANGE,))
        return render.encode_tile(shown, there, limits, colormap=render.HALF_WIDTH_COLORMAP)
    reflectance = live.reflectance(patch.pixels)[indexes]
    warped, there = render.warp(reflectance, patch.valid[indexes], patch.geobox, grid, magnification)
    if combination.index:
        index = render.normalised_difference(warped)
        return render.encode_tile(index, there, limits_for(view, ((-1.0, 1.0),)), colormap=combination.colormap)
    own = tuple(live.limits[band] for band in combination.bands)
    return render.encode_tile(warped, there, limits_for(view, own))


def limits_for(view: TileView, own: Limits) -> Limits:
    """Limits of each of the numbers that are shown; ``own`` where none are asked for. Raises :class:`Problem`."""
    wanted = view.rescale or own
    if len(wanted) not in (1, len(own)):
        raise Problem(404, f"rescale: give low,high once or {len(own)} times, for what is shown has so many numbers")
    return wanted if len(wanted) == len(own) else wanted * len(own)


def _value(dn: Any, reflectance: Any) -> dict[str, float]:
    number = float(dn)
    return {"dn": int(number) if number.is_integer() else number, "reflectance": round(float(reflectance), 6)}


def parse_rescale(text: str | None) -> Limits | None:
    """``low,high``, once or for each of three bands. Raises :class:`Problem` where low is not below high."""
    if not text:
        return None
    numbers = [float(part) for part in text.split(",")]
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if not all(low < high for low, high in pairs):
        raise Problem(404, "rescale: low has to be below high")
    return pairs


def default_bands(available: Sequence[str]) -> str:
    """The combination that is shown of a scene when none is asked for."""
    for name, combination in render.COMBINATIONS.items():
        if set(combination.bands) <= set(available):
            return name
    return ",".join(available[:3]) if len(available) >= 3 else available[0]
