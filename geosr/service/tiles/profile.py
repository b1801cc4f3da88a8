"""Values of a scene along a line, before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.windows import Window
from starlette.concurrency import run_in_threadpool

from geosr.service.geography import pixels_at
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem
from geosr.service.tiles.live_chunks import ChunkKey, LiveChunk, known_pixels
from geosr.service.tiles.live_tiles import Tiles

#: Points along a line.
POINTS = 200

_WGS84 = Geod(ellps="WGS84")

Line = tuple[float, float, float, float]


def parse_line(text: str) -> Line:
    """Longitude and latitude of both ends. Raises :class:`Problem` where one is not on Earth."""
    lon, lat, lon_too, lat_too = (float(part) for part in text.split(","))
    if max(abs(lon), abs(lon_too)) > 180 or max(abs(lat), abs(lat_too)) > 90:
        raise Problem(404, "line: its ends are not within 180 degrees of longitude and 90 of latitude")
    return lon, lat, lon_too, lat_too


async def profile_of(tiles: Tiles, live: LiveScene, line: Line) -> dict[str, Any]:
    """Reflectance along a line. Raises :class:`Problem` where the scene has no pixel along it, or the line is long."""
    lon, lat, lon_too, lat_too = line
    share = np.linspace(0, 1, POINTS)
    rows, cols = pixels_at(live.scene.geobox, lon + share * (lon_too - lon), lat + share * (lat_too - lat))
    height, width = live.scene.geobox.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    if not inside.any():
        raise Problem(404, "the scene has no pixel along the line")
    core = tiles.chunks.core_px
    owner = [
        # Without half-widths, as the map's own tiles have them.
        ChunkKey(live.id, int(row) // core, int(col) // core, uncertainty=False) if there else None
        for row, col, there in zip(rows, cols, inside, strict=True)
    ]
    keys = list(dict.fromkeys(key for key in owner if key is not None))
    chunks = await tiles.computed(live, keys)
    before = np.full((len(live.scene.bands), POINTS), np.nan, np.float32)
    after = before.copy()
    for key in keys:
        here = np.array([one == key for one in owner])
        part = await run_in_threadpool(_along, live, key, chunks[key], (rows[here], cols[here]), core)
        before[:, here], after[:, here] = part
    _, _, length = _WGS84.inv(lon, lat, lon_too, lat_too)
    return {
        "distance_m": [round(float(value), 2) for value in share * length],
        "bands": [
            {"name": band.name, "before": _listed(one), "after": _listed(other)}
            for band, one, other in zip(live.scene.bands, before, after, strict=True)
        ],
    }


def _along(
    live: LiveScene,
    key: ChunkKey,
    chunk: LiveChunk,
    place: tuple[NDArray[np.float64], NDArray[np.float64]],
    core: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reflectance at points of one chunk, before and after, ``(bands, points)``."""
    top, left, scale = key.row * core, key.col * core, live.upscaler.scale
    height, width = (side // scale for side in chunk.image.shape[1:])
    pixels, valid = live.read(Window(left, top, width, height))
    rows, cols = (values - start for values, start in zip(place, (top, left), strict=True))
    near = rows.astype(int), cols.astype(int)
    fine = (rows * scale).astype(int), (cols * scale).astype(int)
    known = known_pixels(chunk.image, live.scene.bands[0].nodata)
    before = np.where(valid, live.reflectance(pixels), np.nan)[:, *near]
    after = np.where(known, live.reflectance(chunk.image), np.nan)[:, *fine]
    return before, after


def _listed(values: NDArray[np.float32]) -> list[float | None]:
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]
