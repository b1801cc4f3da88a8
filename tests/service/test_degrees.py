"""Live tiles of scenes whose pixels are measured in degrees."""

from __future__ import annotations

import io
import math

import morecantile
import numpy as np
import pytest
from PIL import Image
from rasterio.transform import from_origin

from tests.conftest import write_raster

# Services start in processes of their own.
pytestmark = pytest.mark.slow

WEST, NORTH, SIDE_PX = 12.0, 60.0, 96


@pytest.fixture(params=[0.02, 0.0001, 0.00001], ids=["2 km", "11 m", "1 m"])
def degrees(request):
    return request.param


@pytest.fixture
def scene(service, sample, degrees, tmp_path):
    """Answer of the service to an upload with pixels of so many degrees."""
    grid = from_origin(WEST, NORTH, degrees, degrees)
    path = write_raster(tmp_path / "degrees.tif", sample[:, :SIDE_PX, :SIDE_PX], crs="EPSG:4326", transform=grid)
    answer = service.http.post("/scenes/upload", content=path.read_bytes(), headers={"content-type": "image/tiff"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def tile_px_m(zoom: int, latitude: float) -> float:
    return 40_075_017 / 256 / 2**zoom * math.cos(math.radians(latitude))


def picture(service, scene, zoom, layer):
    west, south, east, north = scene["bbox"]
    tile = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, zoom)
    answer = service.http.get(f"/scenes/{scene['id']}/tiles/{zoom}/{tile.x}/{tile.y}?layer={layer}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_zooms_are_those_of_the_pixels_on_the_ground(scene, degrees):
    latitude = (scene["bbox"][1] + scene["bbox"][3]) / 2
    along_y, along_x = degrees * 111_320, degrees * 111_320 * math.cos(math.radians(latitude))
    first, fine = scene["zooms"]["first"], scene["zooms"]["super_resolved"]
    # A tile's pixels are finer than the source's, and were not a zoom before.
    assert tile_px_m(fine, latitude) <= along_y < tile_px_m(fine - 1, latitude)
    # A tile has no more of the source's pixels than are read for one.
    assert first == 0 or 256 * tile_px_m(first, latitude) <= 2048 * along_x


def test_tiles_are_super_resolved_where_they_are_finer_than_the_source(service, scene):
    fine = scene["zooms"]["super_resolved"]
    there = picture(service, scene, fine + 1, "sr")
    assert (there[..., 3] == 255).any()
    assert (there != picture(service, scene, fine + 1, "original")).any()
    before = fine - 1
    assert (picture(service, scene, before, "sr") == picture(service, scene, before, "original")).all()
