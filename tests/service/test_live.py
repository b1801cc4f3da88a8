"""Live tiles: the pixels of the batch product, once computed, on a web map's grid."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
import httpx
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import transform as transform_points

from geosr.model.zoo import DEFAULT_MODEL
from geosr.service.tiles.live_tiles import Tiles
from tests.conftest import RGBN, SAMPLE, write_raster
from tests.service.conftest import Service, served

pytestmark = pytest.mark.slow

#: In the middle of the sample, at which the product's pixels are about a tile's.
TILE = "16/32770/32770"


@dataclass
class Compared:
    """A scene of a service with the default model, and its batch product with half-widths."""

    service: Service
    source: Path
    scene: str
    job: str

    @property
    def folder(self) -> Path:
        return self.service.data / "jobs" / self.job

    def tile(self, place: str, **params: Any) -> httpx.Response:
        return self.service.http.get(f"/scenes/{self.scene}/tiles/{place}", params=params)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The middle of the sample, 128 pixels wide."""
    folder = tmp_path_factory.mktemp("live")
    with rasterio.open(SAMPLE) as raster:
        window = rasterio.windows.Window(86, 86, 128, 128)
        profile = {**raster.profile, "width": 128, "height": 128, "transform": raster.window_transform(window)}
        with rasterio.open(folder / "middle.tif", "w", **profile) as middle:
            middle.write(raster.read(window=window))
            middle.descriptions = raster.descriptions
            middle.scales, middle.offsets = raster.scales, raster.offsets
    with served(folder / "data", model=DEFAULT_MODEL, live_core_px=64) as running:
        headers = {"content-type": "image/tiff"}
        content = (folder / "middle.tif").read_bytes()
        scene = running.http.post("/scenes/upload", content=content, headers=headers).json()["id"]
        job = running.submit(scene=scene, uncertainty=True)
        assert running.wait(job)["status"] == "successful"
        yield Compared(running, folder / "middle.tif", scene, job)


def picture(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def metric(service, name):
    lines = service.http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_tile_that_a_browser_has_is_not_sent_again(network):
    first = network.tile(TILE)
    again = network.service.http.get(first.url, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    for other in ({"layer": "original"}, {"scale": 2}, {"bands": "ndvi"}):
        assert network.tile(TILE, **other).headers["etag"] != first.headers["etag"]


def test_a_pixel_is_that_of_the_batch_product_and_its_half_width(network):
    rng = np.random.default_rng(5)
    with (
        rasterio.open(network.source) as source,
        rasterio.open(network.folder / "product.tif") as product,
        rasterio.open(network.folder / "product_uncertainty.tif") as widths,
    ):
        for row, col in rng.integers(0, 512, (12, 2)):
            x, y = product.xy(row, col)
            (lon,), (lat,) = transform_points(product.crs, "EPSG:4326", [x], [y])
            place = {"lon": lon, "lat": lat}
            found = network.service.http.get(f"/scenes/{network.scene}/point", params=place).json()
            assert found["pixel"] == [col, row]
            window = rasterio.windows.Window(col, row, 1, 1)
            after, half = product.read(window=window).ravel(), widths.read(window=window).ravel()
            before = source.read(window=rasterio.windows.Window(col // 4, row // 4, 1, 1)).ravel()
            for i, band in enumerate(found["bands"]):
                assert band["before"]["dn"] == before[i]
                # Chunks of another size: rounding may fall to the other side.
                assert abs(band["after"]["dn"] - int(after[i])) <= 1
                assert abs(band["half_width"]["dn"] - int(half[i])) <= 1
                assert band["after"]["reflectance"] == pytest.approx(band["after"]["dn"] / 10000, abs=1e-6)


def test_a_tile_shows_the_batch_product(network):
    shown = picture(network.tile(TILE, bands="B04", rescale="0,0.3"))
    # The same tile of the product, by titiler, which knows no gamma.
    params = {"bidx": 3, "rescale": "0,3000", "resampling": "bilinear", "reproject": "bilinear"}
    tile = network.service.http.get(f"/jobs/{network.job}/map/tiles/WebMercatorQuad/{TILE}.png", params=params)
    linear = np.asarray(Image.open(io.BytesIO(tile.content)).convert("RGBA"))
    expected = 255 * (linear[..., 0] / 255) ** (1 / 1.8)
    difference = np.abs(shown[..., 0].astype(float) - expected)
    assert np.median(difference) <= 3
    assert (shown[..., 3] == 255).all()


def test_the_same_chunk_is_computed_once_for_all(network):
    network.service.http.get("/scenes")
    before = metric(network.service, 'geosr_live_chunks_total{how="computed"}')
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda band: network.tile("17/65539/65539", bands=band), [*RGBN, *RGBN]))
    assert {answer.status_code for answer in answers} == {200}
    computed = metric(network.service, 'geosr_live_chunks_total{how="computed"}') - before
    # A tile of this zoom lies in one chunk of 64 pixels, or across the border of two along each axis.
    assert computed <= 4


def test_layers_differ_and_are_clear_outside_the_scene(network):
    views = {layer: picture(network.tile(TILE, layer=layer)) for layer in ("original", "sr", "uncertainty")}
    assert np.abs(views["original"].astype(int) - views["sr"]).mean() > 1
    assert np.abs(views["uncertainty"].astype(int) - views["sr"]).mean() > 1
    outside = picture(network.tile("16/0/0"))
    assert (outside[..., 3] == 0).all()


def test_sharpness_changes_pictures_and_no_measurements(network):
    plain = picture(network.tile(TILE))
    visual = picture(network.tile(TILE, sharpness=1))
    assert np.abs(visual.astype(int) - plain).mean() > 0.5
    refused = network.tile(TILE, sharpness=1, layer="uncertainty")
    assert refused.status_code == 404
    assert (picture(network.tile(TILE)) == plain).all()


def test_far_away_the_source_is_shown_for_nothing_finer_can_be_seen(network):
    fine, source = (picture(network.tile("13/4096/4096", bands="B04", layer=layer)) for layer in ("sr", "original"))
    assert (fine == source).all()
    assert fine[..., 3].any()


@pytest.mark.parametrize("bands", ["true-colour", "false-colour", "ndvi", "ndwi", "B08", "B08,B04,B03"])
def test_combinations_of_bands(service, bands):
    shown = picture(service.http.get(f"/scenes/demo/tiles/{TILE}", params={"bands": bands, "scale": 2}))
    assert shown.shape == (512, 512, 4)
    assert shown[..., :3].std() > 3


def test_vegetation_is_green_in_ndvi(service):
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read().astype(float)
        index = (pixels[3] - pixels[2]) / (pixels[3] + pixels[2])
        greenest, barest = (np.unravel_index(place, index.shape) for place in (index.argmax(), index.argmin()))
        grounds = [raster.xy(*one) for one in (greenest, barest)]
        places = [transform_points(raster.crs, "EPSG:4326", [x], [y]) for x, y in grounds]
    colours = []
    for (lon,), (lat,) in places:
        x, y = (lon + 180) / 360 * 2**18, 2**17 - np.degrees(np.arcsinh(np.tan(np.radians(lat)))) / 360 * 2**18
        tile = picture(service.http.get(f"/scenes/demo/tiles/18/{int(x)}/{int(y)}?bands=ndvi&layer=original"))
        colours.append(tile[int(y % 1 * 256), int(x % 1 * 256), :3].astype(int))
    green, bare = colours
    assert green[1] > green[0]
    assert bare[0] > bare[1]


def test_tilejson_leads_to_tiles(service):
    content = service.http.get("/scenes/demo/tilejson.json", params={"layer": "original", "bands": "ndvi"}).json()
    west, south, east, north = content["bounds"]
    assert west < 0.0135 < east
    assert south < -0.0135 < north
    address = content["tiles"][0].replace("{z}/{x}/{y}", TILE)
    assert picture(service.http.get(address)).any()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/scenes/none", 404),
        ("/scenes/demo/tiles/3/9/0", 404),
        ("/scenes/demo/tiles/99/0/0", 404),
        (f"/scenes/demo/tiles/{TILE}?bands=B99", 404),
        (f"/scenes/demo/tiles/{TILE}?bands=B02,B03", 404),
        (f"/scenes/demo/tiles/{TILE}?rescale=3,1", 404),
        (f"/scenes/demo/tiles/{TILE}?rescale=nan,1", 400),
        (f"/scenes/demo/tiles/{TILE}?layer=best", 400),
        (f"/scenes/demo/tiles/{TILE}?layer=uncertainty", 404),
        (f"/scenes/demo/tiles/{TILE}?scale=9", 400),
        ("/scenes/demo/point?lon=50&lat=50", 404),
        ("/scenes/demo/point?lon=500&lat=50", 400),
        ("/scenes/demo/point?lon=nan&lat=0", 400),
    ],
)
def test_what_cannot_be_shown_is_refused(service, path, status):
    answer = service.http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_upload_becomes_a_scene_and_a_job(service):
    answer = service.http.post(
        "/scenes/upload", params={"title": "mine"}, content=SAMPLE.read_bytes(), headers={"content-type": "image/tiff"}
    )
    assert answer.status_code == 201
    scene = answer.json()["id"]
    assert scene in [one["id"] for one in service.http.get("/scenes").json()["scenes"]]
    assert picture(service.http.get(f"/scenes/{scene}/tiles/{TILE}")).any()
    job = service.submit(scene=scene, bbox=[0.001, -0.004, 0.004, -0.001])
    assert service.wait(job)["status"] == "successful"
    assert service.http.delete(f"/scenes/{scene}").status_code == 204
    assert service.http.get(f"/scenes/{scene}").status_code == 404
    # What was made of it stays.
    assert service.http.get(f"/jobs/{job}/results").status_code == 200


def test_an_upload_with_undeclared_fills_is_taken_with_their_nodata(service, tmp_path, sample):
    pixels = sample[:, :40, :40].clip(1).astype(np.int16)
    pixels[:, :9] = -9999
    content = write_raster(tmp_path / "a.tif", pixels).read_bytes()
    headers = {"content-type": "image/tiff"}
    refused = service.http.post("/scenes/upload", content=content, headers=headers)
    assert refused.status_code == 400
    assert "22 % of the pixels are -9999, which nothing declares as nodata" in refused.json()["detail"]
    taken = service.http.post("/scenes/upload", params={"nodata": -9999}, content=content, headers=headers)
    assert taken.status_code == 201
    assert {band["nodata"] for band in taken.json()["bands"]} == {-9999}
    job = service.submit(scene=taken.json()["id"])
    assert service.wait(job)["status"] == "successful"
    with rasterio.open(next((service.data / "jobs" / job).glob("*.tif"))) as product:
        assert product.nodata == -9999
        assert (product.read()[:, :36] == -9999).all()


def test_a_scene_is_forgotten_while_tiles_of_others_are_made():
    with diskcache.Cache() as cache:
        tiles = Tiles(None, cache, 1)

        class Meanwhile(str):
            """A name at whose sight another tile is made."""

            def split(self, *separator):
                tiles._latest["tile/new/1"] = b""
                return str(self).split(*separator)

        tiles._latest.update({Meanwhile("tile/kept/1"): b"", "tile/gone/1": b"", "tile/kept/2": b""})
        tiles.forget("gone")
        assert set(tiles._latest) == {"tile/kept/1", "tile/kept/2", "tile/new/1"}


def test_requests_that_are_given_up_are_not_computed_and_take_nothing_from_others(network):
    service = network.service
    content, headers = SAMPLE.read_bytes(), {"content-type": "image/tiff"}
    answers = [service.http.post("/scenes/upload", content=content, headers=headers) for _ in range(2)]
    scene, other = (answer.json()["id"] for answer in answers)

    def computed():
        return metric(service, 'geosr_live_chunks_total{how="computed"}')

    # Of all four, nine chunks and more each.
    tiles = [f"{service.address}/scenes/{scene}/tiles/15/{x}/{y}" for x in (16384, 16385) for y in (16384, 16385)]
    for address in tiles * 2:
        with pytest.raises(httpx.TimeoutException):
            httpx.get(address, timeout=0.05, trust_env=False)
    given_up = computed()
    # Chunks are computed in the order of requests: this tile's only chunk comes after all that are still wanted.
    assert picture(service.http.get(f"/scenes/{other}/tiles/18/131081/131081")).any()
    # However fast the machine is: the one that is under way becomes whole, and one more before it is known.
    assert computed() - given_up - 1 <= 2, "the rest of all 25 would have been under way"
    assert picture(service.http.get(tiles[-1])).any()
