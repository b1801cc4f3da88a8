"""Tiles, statistics and TileJSON of finished jobs: within limits, and with problems for what makes no sense."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
import rasterio

from tests.service.conftest import BOX

# Services start in processes of their own.
pytestmark = pytest.mark.slow

#: In the middle of the job's box.
TILE = "tiles/WebMercatorQuad/16/32769/32769"


@pytest.fixture(scope="module")
def result(service):
    """The address of a finished job's map."""
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    return f"{service.address}/jobs/{job}/map"


def ask(address, **headers):
    return httpx.get(address, headers=headers, trust_env=False, timeout=60)


def assert_problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        f"{TILE}.png?tilesize=60000",
        f"{TILE}.png?tilesize=256&tilesize=1025",
        f"{TILE}.png?buffer=60000",
        f"{TILE}.png?padding=60000",
        f"{TILE}.png?{'&'.join(['bidx=1'] * 1000)}",
        f"{TILE}.png?expression={';'.join(['b1'] * 5)}",
        # Python computes that before any pixel is read: it would never end.
        f"{TILE}.png?expression=b1*9**9**9",
        "WebMercatorQuad/tilejson.json?tilesize=60000",
        "statistics?width=60000&height=60000",
        "statistics?width=2049&height=2049",
        "statistics?max_size=60000",
        # The height follows from the raster's shape.
        "statistics?width=2048",
        "statistics?histogram_bins=1000000000",
    ],
)
def test_what_takes_too_much_memory_or_time_is_refused(result, path):
    assert_problem(ask(f"{result}/{path}"), 400)


def test_no_tile_is_warped_from_far_away(result):
    """A tile of a whole hemisphere took minutes and gigabytes: it was warped in the product's own pixels."""
    for place in ("WebMercatorQuad/0/0/0", "WebMercatorQuad/9/256/256", "WGS1984Quad/1/1/1"):
        assert_problem(ask(f"{result}/tiles/{place}.png?bidx=1"), 404)
    # A power of this one would be computed for ever.
    assert ask(f"{result}/tiles/WebMercatorQuad/-23515609858879348/0/0.png?bidx=1").status_code in (400, 404)
    shown = ask(f"{result}/tiles/WebMercatorQuad/13/4096/4096.png?bidx=1&rescale=0,3000")
    assert shown.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "point/0.008,-0.008?coord_crs=",
        "info.geojson?crs=",
        "statistics?dst_crs=",
        f"{TILE}.png?CRS=",
    ],
)
@pytest.mark.parametrize(
    "crs", ["http://192.0.2.1/a.wkt", "https://www.opengis.net/def/crs/../../x", "/etc/passwd", "file:///a", "PROJCS[]"]
)
def test_a_crs_is_taken_by_its_code_and_nothing_is_fetched_for_it(service, result, path, crs):
    """GDAL would fetch it, and let nothing else run while it waits."""
    answer = ask(f"{result}/{path}{crs}")
    assert_problem(answer, 400)
    assert "is not the code of a CRS" in answer.json()["detail"]
    assert "refused to fetch" not in service.log.read_text()


@pytest.mark.parametrize("crs", ["EPSG:4326", "epsg:4326", "OGC:CRS84", "http://www.opengis.net/def/crs/EPSG/0/4326"])
def test_known_names_of_a_crs_are_taken(result, crs):
    assert ask(f"{result}/point/0.008,-0.008?coord_crs={crs}").status_code == 200
    assert ask(f"{result}/info.geojson?crs={crs}").status_code == 200


def test_pictures_and_statistics_of_any_shape_are_not_made(result):
    assert_problem(ask(f"{result}/bbox/0.005,-0.012,0.012,-0.005/60000x60000.png"), 404)
    assert_problem(ask(f"{result}/preview.png"), 404)
    outline = [[0, 0], [0.01, 0], [0, -0.01], [0, 0]]
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [outline]}}
    for path, status in (("feature/60000x60000.png", 404), ("statistics", 405)):
        assert_problem(httpx.post(f"{result}/{path}", json=shape, trust_env=False), status)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("tiles/WebMercatorQuad/3/0/0.png", 404),
        ("tiles/WebMercatorQuad/99999/0/0.png", 400),
        (f"{TILE}.png?bidx=99", 400),
        (f"{TILE}.png?expression=nope", 400),
        (f"{TILE}.png?expression=b9", 400),
        (f"{TILE}.png?bidx=1&colormap=[1]", 400),
        # Four bands are no picture of this kind.
        (f"{TILE}.webp", 400),
        (f"{TILE}.png?nodata=1e300", 400),
        ("statistics?histogram_range=5,1", 400),
        ("statistics?p=200", 400),
        ("point/50,50", 404),
        ("point/nan,0", 400),
        ("point/500,95", 400),
    ],
)
def test_what_makes_no_sense_is_a_problem_and_no_failure(service, result, path, status):
    before = len(service.log.read_text())
    assert_problem(ask(f"{result}/{path}"), status)
    assert "Traceback" not in service.log.read_text()[before:]


def test_within_the_limits_a_result_is_shown_and_counted(service, result):
    tile = ask(f"{result}/{TILE}.tif?bidx=1&bidx=3&tilesize=512&buffer=2")
    assert tile.status_code == 200, tile.text
    with rasterio.MemoryFile(tile.content) as file, file.open() as raster:
        assert raster.shape == (516, 516)
        shown = raster.read(1)
    counted = ask(f"{result}/statistics?expression=b1;b1-b2&max_size=2048&histogram_bins=20").json()
    first, difference = counted.values()
    assert len(first["histogram"][0]) == 20
    assert difference["max"] < first["max"]
    assert first["min"] <= np.median(shown[shown > 0]) <= first["max"]
    assert len(ask(f"{result}/point/0.008,-0.008").json()["values"]) == 4


def test_links_have_the_services_address_whatever_host_a_request_names(service, result):
    content = ask(f"{result}/WebMercatorQuad/tilejson.json?bidx=1", host="localhost:1").json()
    (tile,) = content["tiles"]
    assert tile.startswith(f"{result}/tiles/WebMercatorQuad/")
    address = tile.replace("{z}/{x}/{y}", TILE.partition("Quad/")[2])
    assert ask(address).headers["content-type"].startswith("image/")
