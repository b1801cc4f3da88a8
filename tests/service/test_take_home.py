"""Results as they are taken home: named, in one archive, announced; and optional settings of the page."""

from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile
from queue import Queue

import pytest
import rasterio
from PIL import Image

from tests.conftest import SAMPLE
from tests.service.conftest import BOX, served

# Services start in processes of their own.
pytestmark = pytest.mark.slow

PLACE = [{"display_name": "Regensburg", "boundingbox": ["48.9", "49.1", "12.0", "12.2"], "other": 1}]


@pytest.fixture(scope="module")
def neighbour():
    """A server that keeps what is posted to it, and knows one place; yields its host and what it got."""
    got: Queue = Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, status, content=b"", **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self.answer(200, json.dumps(PLACE).encode())

        def do_POST(self):
            got.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.answer(204)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", got
    server.shutdown()


@pytest.fixture(scope="module")
def service(neighbour, tmp_path_factory):
    host, _ = neighbour
    settings = {
        "private_hosts": json.dumps([host]),
        "callback_hosts": json.dumps([host]),
        "places": f"http://{host}/search?q={{query}}",
        "basemap": "https://tiles.example.org/{z}/{x}/{y}.png",
        "basemap_credits": "somebody",
    }
    with served(tmp_path_factory.mktemp("home"), "--demo", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def finished(service):
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    return job


def test_a_bundle_holds_the_files_with_styles_and_a_preview(service, finished):
    links = service.http.get(f"/jobs/{finished}/links").json()
    got = service.http.get(links["bundle"]["href"])
    assert got.headers["content-type"] == "application/zip"
    assert f"geosr-{finished[:8]}.zip" in got.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert archive.testzip() is None
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        assert set(names) == {"product.tif", "product.qml", "product.json", "product_preview.png"}
        assert archive.read(names["product.tif"]) == (service.data / "jobs" / finished / "product.tif").read_bytes()
        # The Item refers to the raster beside it.
        assert json.loads(archive.read(names["product.json"]))["assets"]["data"]["href"].endswith("product.tif")
        assert archive.read(names["product.qml"]).startswith(b"<!DOCTYPE qgis")
        with Image.open(io.BytesIO(archive.read(names["product_preview.png"]))) as preview:
            assert preview.format == "PNG"
    assert service.http.get(f"/jobs/{finished}/files/product.zip").status_code == 200


def test_items_of_results_have_a_thumbnail_and_tiles(service, finished):
    item = service.http.get(f"/collections/results/items/{finished}").json()
    thumbnail = service.http.get(item["assets"]["thumbnail"]["href"])
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) <= 512
    again = {"If-None-Match": thumbnail.headers["etag"]}
    assert service.http.get(item["assets"]["thumbnail"]["href"], headers=again).status_code == 304
    (tiles,) = (link["href"] for link in item["links"] if link["rel"] == "tilejson")
    assert service.http.get(tiles).json()["tilejson"].startswith("3.")


def test_a_job_is_renamed(service, finished):
    renamed = service.http.patch(f"/jobs/{finished}", json={"title": "  Harbour,\n June "})
    assert renamed.json()["title"] == "Harbour, June"
    assert service.http.get("/jobs").json()["jobs"][0]["title"] == "Harbour, June"
    assert "title" not in service.http.patch(f"/jobs/{finished}", json={"title": ""}).json()
    assert service.http.patch("/jobs/none", json={"title": "a"}).status_code == 404
    assert service.http.patch(f"/jobs/{finished}", json={"title": "a" * 121}).status_code == 400


def test_a_subscriber_hears_of_a_job(service, neighbour):
    host, got = neighbour
    subscriber = {"successUri": f"http://{host}/done", "inProgressUri": f"http://{host}/begun"}
    content = {"inputs": {"scene": "demo", "bbox": BOX, "max_cloud": 52}, "subscriber": subscriber}
    order = {"url": "/processes/upscale/execution", "headers": {"Prefer": "respond-async"}}
    job = service.http.post(**order, json=content).json()["jobID"]
    heard = dict(got.get(timeout=60) for _ in range(2))
    assert heard["/begun"]["jobID"] == job
    assert heard["/done"]["product"]["href"].endswith(f"/jobs/{job}/files/product.tif")
    # One that is answered from an earlier job is heard of as well.
    content["subscriber"] = {"successUri": f"http://{host}/again"}
    service.http.post(**order, json=content)
    assert got.get(timeout=60)[0] == "/again"


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("http://169.254.169.254/", 403, "callback_hosts"),
        ("http://127.0.0.1:1/", 403, "callback_hosts"),
        ("file:///etc/passwd", 400, "https://"),
        ("ftp://a/", 400, "https://"),
    ],
)
def test_callbacks_go_to_listed_hosts_alone(service, address, status, reason):
    content = {"inputs": {"scene": "demo"}, "subscriber": {"successUri": address}}
    answer = service.http.post("/processes/upscale/execution", json=content)
    assert answer.status_code == status
    assert reason in answer.json()["detail"]


def test_what_a_file_does_not_say_is_said_beside_it(service, tmp_path):
    with rasterio.open(SAMPLE) as source:
        pixels, profile = source.read()[:, :64, :64], source.profile
    path = tmp_path / "bare.tif"
    with rasterio.open(path, "w", **{**profile, "width": 64, "height": 64}) as out:
        out.write(pixels)

    def upload(**params):
        return service.http.post("/scenes/upload", params=params, content=path.read_bytes())

    scene = upload(bands="B02,B03,B04,B08", scale=0.0002, offset=-0.01).json()
    assert [band["name"] for band in scene["bands"]] == ["B02", "B03", "B04", "B08"]
    assert {(band["scale"], band["offset"]) for band in scene["bands"]} == {(0.0002, -0.01)}
    # A job reads the same.
    job = service.submit(scene=scene["id"])
    assert service.wait(job)["status"] == "successful"
    with rasterio.open(service.data / "jobs" / job / "product.tif") as product:
        assert product.descriptions == ("B02", "B03", "B04", "B08")
        assert set(product.scales) == {0.0002}
    for params, status, reason in (
        ({"bands": "B02,B03"}, 409, "file has 4"),
        ({"scale": 0}, 400, "scale"),
        ({"bands": "a b"}, 400, "bands"),
    ):
        answer = upload(**params)
        assert answer.status_code == status
        assert reason in answer.json()["detail"]


def test_places_are_searched_and_a_basemap_may_be_loaded(service):
    places = service.http.get("/places?query=Regensburg").json()
    assert places == [{"name": "Regensburg", "bbox": [12.0, 48.9, 12.2, 49.1]}]
    about = service.http.get("/about")
    assert about.json()["basemap"]["credits"] == "somebody"
    assert about.json()["places"] is True
    policy = about.headers["content-security-policy"]
    assert "connect-src 'self' https://tiles.example.org;" in policy
    assert "script-src" not in policy
    assert "default-src 'self';" in policy
