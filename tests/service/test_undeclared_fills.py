"""Undeclared fill values in a part of a scene: tiles of that part are refused, as its product is."""

from __future__ import annotations

import asyncio

import diskcache
import numpy as np
import pytest

from catalog import SourceError
from geosr.service.database import Database
from geosr.service.problems import problem_of
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Caller
from geosr.service.settings import ServiceSettings
from geosr.service.tiles.live_chunks import LiveChunks
from geosr.service.tiles.live_tiles import Tiles, TileView, default_bands
from geosr.service.tiles.render import TileGrid
from geosr.service.uploads import SourceDetails
from tests.conftest import RGBN, write_raster
from tests.service.conftest import PLAIN

SIDE = 600

#: Rows and columns between the squares that a scene is sampled by, when it is opened and for its limits.
HIDDEN = slice(100, 120)

ADVICE = r"has a part in which B02: .* are -9999, which nothing declares as nodata: give --nodata -9999"


@pytest.fixture
def path(tmp_path):
    """A raster with -9999 where no sample looks."""
    pixels = np.random.default_rng(1).integers(400, 3000, (len(RGBN), SIDE, SIDE)).astype(np.int16)
    pixels[:, HIDDEN, HIDDEN] = -9999
    return write_raster(tmp_path / "a.tif", pixels)


@pytest.fixture
def scenes(tmp_path):
    return Scenes(Database(tmp_path), ServiceSettings(data=tmp_path, model=PLAIN))


@pytest.fixture
def tiles():
    with diskcache.Cache() as cache:
        chunks = LiveChunks(cache, core_px=128, waiting=9)
        chunks.start()
        yield Tiles(chunks, cache, wait_s=120)
        chunks.stop()


def tile_at(live, row, col, zoom):
    """The tile that shows a pixel of a scene, whose sides lie along the meridians and parallels near enough."""
    west, south, east, north = live.bounds
    lon, lat = west + (east - west) * (col + 0.5) / SIDE, north - (north - south) * (row + 0.5) / SIDE
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return TileGrid(zoom, int((lon / 360 + 0.5) * 2**zoom), int(y * 2**zoom), 256), (lon, lat)


def test_tiles_of_a_part_with_an_undeclared_fill_are_refused_and_others_are_shown(scenes, tiles, path):
    live = scenes.add_upload(path, "a", Caller(None))
    bands = default_bands(live.scene.names)
    there, place = tile_at(live, 110, 110, 17)
    with pytest.raises(SourceError, match=ADVICE) as refused:
        asyncio.run(tiles.tile(live, TileView("sr", bands), there))
    problem = problem_of(refused.value)
    assert problem.status == 400
    assert problem.detail.startswith("upload.tif has a part in which B02: ")
    assert problem.detail.endswith("declares as nodata: give nodata -9999 if nothing was measured there")
    with pytest.raises(SourceError, match=ADVICE):
        asyncio.run(tiles.tile(live, TileView("original", bands), there))
    with pytest.raises(SourceError, match=ADVICE):
        asyncio.run(tiles.point(live, *place))
    elsewhere, _ = tile_at(live, 450, 450, 17)
    assert asyncio.run(tiles.tile(live, TileView("sr", bands), elsewhere)).startswith(b"\x89PNG")


def test_with_their_nodata_all_tiles_are_shown(scenes, tiles, path):
    live = scenes.add_upload(path, "a", Caller(None), SourceDetails(nodata=-9999))
    there, _ = tile_at(live, 110, 110, 17)
    assert asyncio.run(tiles.tile(live, TileView("sr", default_bands(live.scene.names)), there)).startswith(b"\x89PNG")
