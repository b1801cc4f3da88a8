"""Attempts of clients that fail: files of the machine, other hosts, rasters that are none or too large."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio

from geosr.service.security.egress_proxy import Egress, is_public
from tests.conftest import SAMPLE, write_raster
from tests.service.conftest import BOX, served
from tests.stac_items import write_item

# Services start in processes of their own.
pytestmark = pytest.mark.slow

SECRET = b"a secret of this machine"


@contextmanager
def web_server(answers):
    """A server on loopback that takes down what is asked of it: path → (status, headers, body)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


def item_of(tmp_path, change, host=""):
    """An Item of real rasters, with its assets' addresses changed; HOST in them stands for a host."""
    path = write_item(tmp_path, "scene", np.full((4, 64, 64), 1000, dtype=np.uint16))
    content = json.loads(path.read_text())
    for asset in content["assets"].values():
        asset["href"] = change(asset["href"]).replace("HOST", host)
    return json.dumps(content).encode()


def nothing_kept(service):
    return not [path for path in (service.data / "scenes").iterdir() if path.name != "demo"]


def refused(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text.replace("/secret", "")


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "/vsicurl/http://127.0.0.1/x.json",
        "http://127.0.0.1/items/x",
        "http://localhost:22/x.json",
        "http://[::1]/x.json",
        "http://[::ffff:127.0.0.1]/x.json",
        "http://2130706433/x.json",
        "http://0x7f.1/x.json",
        "http://169.254.169.254/latest/meta-data/x.json",
        "http://10.0.0.1/x.json",
        "https://earth-search.aws.element84.com@127.0.0.1/x.json",
        "https://earth-search.aws.element84.com.evil.example/x.json",
        "https://earth-search.aws.element84.com:8443/x.json",
        "ftp://earth-search.aws.element84.com/x.json",
        "s3://bucket/x.json",
        "https://\n127.0.0.1/x.json",
        "http://",
        "",
    ],
)
def test_items_from_elsewhere_are_not_fetched(service, address):
    refused(service.http.post("/scenes", json={"item": address}), 400, 403)
    request = {"inputs": {"item": address}}
    refused(
        service.http.post("/processes/upscale/execution", json=request, headers={"Prefer": "respond-async"}), 400, 403
    )
    refused(service.http.get("/catalogue/thumbnail", params={"href": address}), 400, 403)


ELSEWHERE = (
    lambda href: href.removeprefix("file://"),
    lambda href: href,
    lambda _: "/vsicurl/http://HOST/hidden.tif",
    lambda href: "/vsizip/" + href.removeprefix("file://"),
    lambda _: "http://HOST/hidden.tif",
    lambda _: "http://[::ffff:127.0.0.1]:80/hidden.tif",
    lambda href: "GTIFF_DIR:1:" + href.removeprefix("file://"),
    lambda _: "../../../../etc/hosts",
    lambda _: "<VRTDataset/>",
)


def test_assets_elsewhere_are_not_read(tmp_path):
    with web_server({}) as (hidden, asked):
        bodies = [item_of(tmp_path, change, hidden) for change in ELSEWHERE]
        answers = {f"/item{i}.json": (200, {}, body) for i, body in enumerate(bodies)}
        with web_server(answers) as (host, _), served(tmp_path / "data", private_hosts=json.dumps([host])) as service:
            for path in answers:
                refused(service.http.post("/scenes", json={"item": f"http://{host}{path}"}), 400, 502)
            job = service.submit(item=f"http://{host}/item0.json")
            assert service.wait(job)["status"] == "failed"
            assert not list((service.data / "jobs" / job).glob("product*"))
            assert nothing_kept(service)
        assert asked == []


def test_redirects_lead_nowhere_else(tmp_path):
    secrets = {"/secret.json": (200, {}, SECRET), "/secret.tif": (200, {}, SAMPLE.read_bytes())}
    bands = ("B02", "B03", "B04", "B08")
    with web_server(secrets) as (hidden, asked):
        away, raster = ({"Location": f"http://{hidden}/secret.{kind}"} for kind in ("json", "tif"))
        answers = {"/item.json": (302, away, b""), "/thumb.png": (302, away, b"")}
        answers |= {f"/{band}.tif": (302, raster, b"") for band in bands}
        with web_server(answers) as (host, _):
            names = iter(bands)
            redirected = item_of(tmp_path, lambda _: f"http://{host}/{next(names)}.tif")
            answers["/redirected.json"] = (200, {}, redirected)
            with served(tmp_path / "data", private_hosts=json.dumps([host])) as service:
                refused(service.http.post("/scenes", json={"item": f"http://{host}/item.json"}), 502)
                refused(service.http.get("/catalogue/thumbnail", params={"href": f"http://{host}/thumb.png"}), 502)
                # An Item whose assets redirect.
                refused(service.http.post("/scenes", json={"item": f"http://{host}/redirected.json"}), 502)
        assert asked == []


def test_a_name_that_leads_to_a_private_address_is_not_connected_to():
    with web_server({"/": (200, {}, SECRET)}) as (hidden, asked):
        port = hidden.rpartition(":")[2]
        # Allowed by name, but not as a private host: as a name whose DNS answer was changed.
        egress = Egress([f"localhost:{port}"])
        egress.start()
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": egress.address}))
            with pytest.raises(urllib.error.HTTPError) as error:
                opener.open(f"http://localhost:{port}/", timeout=60)
            assert error.value.code == 403
        finally:
            egress.stop()
        assert asked == []


def test_the_way_out_leads_to_what_is_allowed():
    with web_server({"/a?b=c": (200, {}, b"fine")}) as (host, _):
        egress = Egress([], [host])
        egress.start()
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": egress.address}))
            assert opener.open(f"http://{host}/a?b=c", timeout=60).read() == b"fine"
        finally:
            egress.stop()


def test_tunnels_lead_to_what_is_allowed_and_nowhere_else():
    with web_server({"/a": (200, {}, b"fine")}) as (host, _), web_server({}) as (hidden, asked):
        egress = Egress([], [host])
        egress.start()
        try:
            for target, said in ((host, b"200"), (hidden, b"403"), ("[::1]:80", b"403"), ("nonsense", b"403")):
                place = urlsplit(egress.address)
                with socket.create_connection((place.hostname, place.port), timeout=60) as tunnel:
                    tunnel.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
                    assert tunnel.recv(1000).split()[1] == said, target
                    if said == b"200":
                        tunnel.sendall(b"GET /a HTTP/1.0\r\n\r\n")
                        assert b"fine" in b"".join(iter(lambda: tunnel.recv(1000), b""))
        finally:
            egress.stop()
        assert asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize(
    "path", ["/jobs/..%2f..%2fetc/files/passwd", "/scenes/..%2f..%2fetc", "/page/..%2f..%2fapp.py"]
)
def test_paths_out_of_a_folder_lead_nowhere(service, path):
    assert service.http.get(path).status_code in (404, 405)


@pytest.fixture(scope="module")
def finished(service):
    """The id of a job that is done."""
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    return job


def test_files_of_a_job_have_fixed_names(service, finished):
    for name in ("order.json", "job.log", "..%2forder.json", "%2e%2e"):
        refused(service.http.get(f"/jobs/{finished}/files/{name}"), 404)


def upload(service, content):
    return service.http.post("/scenes/upload", content=content, headers={"content-type": "image/tiff"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no raster",
        SAMPLE.read_bytes()[:1000],
        b'<VRTDataset rasterXSize="9" rasterYSize="9"><SRS>EPSG:32631</SRS><VRTRasterBand dataType="Byte" band="1">'
        b"<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>",
        b"GIF89a" + bytes(100),
    ],
)
def test_uploads_that_are_no_geotiff_are_refused_and_not_kept(service, content):
    refused(upload(service, content), 415, 400)
    assert nothing_kept(service)


def test_uploads_that_are_too_large_are_refused_before_they_are_taken(tmp_path):
    with served(tmp_path / "data", max_upload_bytes=100_000, max_pixels=50_000) as service:
        refused(upload(service, bytes(200_000)), 413)

        def endless():
            for _ in range(100):
                yield bytes(10_000)

        # Without a length that is announced.
        refused(upload(service, endless()), 413)
        assert nothing_kept(service)


def test_rasters_that_would_fill_the_memory_are_refused_by_their_header(service, tmp_path):
    huge = tmp_path / "huge.tif"
    options = {"driver": "GTiff", "dtype": "uint16", "count": 4, "crs": "EPSG:32633", "sparse_ok": True}
    place = rasterio.transform.from_origin(300000, 5400000, 10, 10)
    with rasterio.open(huge, "w", width=200_000, height=200_000, transform=place, tiled=True, bigtiff=True, **options):
        pass
    refused(upload(service, huge.read_bytes()[: 4 * 2**20]), 413, 415)
    # Few pixels are allowed, and one block of all of them is not.
    block = tmp_path / "block.tif"
    with rasterio.open(
        block, "w", width=10_000, height=10_000, transform=place, blockysize=10_000, compress="zstd", **options
    ):
        pass
    assert block.stat().st_size < 10**6
    refused(upload(service, block.read_bytes()), 413)
    assert nothing_kept(service)


def test_a_scene_without_a_place_is_refused(service, tmp_path):
    pixels = np.full((4, 64, 64), 1000, dtype=np.uint16)
    path = write_raster(tmp_path / "nowhere.tif", pixels, crs=None, transform=rasterio.Affine.identity())
    refused(upload(service, path.read_bytes()), 400)
    assert nothing_kept(service)


UTM = "EPSG:32633"


@pytest.mark.parametrize(
    ("crs", "left", "top", "side"),
    [
        ('LOCAL_CS["here",UNIT["metre",1]]', 300000, 5400000, 10),
        ("EPSG:4978", 300000, 5400000, 10),
        (UTM, 9e9, 9e9, 10),
        (UTM, 9e7, 9e6, 10),
        (UTM, float("nan"), 5400000, 10),
        (UTM, 300000, 5400000, 1e-30),
        ("EPSG:4326", 900, 45, 1e-4),
        ("EPSG:4326", 10, 95, 1e-4),
    ],
)
def test_scenes_that_are_nowhere_on_earth_are_refused_and_not_kept(service, tmp_path, crs, left, top, side):
    pixels = np.full((4, 64, 64), 1000, dtype=np.uint16)
    place = rasterio.transform.from_origin(left, top, side, side)
    path = write_raster(tmp_path / "odd.tif", pixels, crs=rasterio.crs.CRS.from_string(crs), transform=place)
    refused(upload(service, path.read_bytes()), 400)
    assert nothing_kept(service)


def test_areas_and_scenes_beyond_the_limits_are_refused(tmp_path):
    with served(tmp_path / "data", "--demo", max_area_km2=1, max_pixels=100_000) as service:
        request = {"inputs": {"scene": "demo", "bbox": [0, -0.027, 0.0269, 0]}}
        answer = service.http.post("/processes/upscale/execution", json=request, headers={"Prefer": "respond-async"})
        refused(answer, 403)
        search = {"inputs": {"bbox": [0, 0, 10, 10], "datetime": "2024"}}
        answer = service.http.post("/processes/upscale/execution", json=search, headers={"Prefer": "respond-async"})
        refused(answer, 403)


def test_the_page_may_load_nothing_from_elsewhere(service):
    answer = service.http.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_of_other_origins_may_ask_only_where_they_are_named(tmp_path):
    with served(tmp_path / "data", cors_origins=json.dumps(["https://maps.example"])) as service:
        told = [
            service.http.get("/scenes", headers={"Origin": origin}).headers.get("access-control-allow-origin")
            for origin in ("https://maps.example", "https://evil.example")
        ]
        assert told == ["https://maps.example", None]


def test_logs_are_lines_of_json_with_jobs_ids_and_no_keys(service, finished):
    service.http.get("/scenes", params={"api_key": "geosr_in_the_address"})
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert {line["message"] for line in lines if line.get("job") == finished} >= {
        "job starts",
        "job is successful: finished",
    }
    assert "geosr_in_the_address" not in service.log.read_text()
