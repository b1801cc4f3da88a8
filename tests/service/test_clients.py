"""First requests of clients of maps and of OGC's APIs: sizes, parts, versions, and descriptions."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from PIL import Image

from geosr.service.openapi import as_3_0
from geosr.service.results.extent import extent_of
from scripts import clients
from tests.qgis.here import qgis_python
from tests.service.conftest import BOX, served

# Services start in processes of their own.
pytestmark = pytest.mark.slow

PATHS = [
    "/",
    "/conformance",
    "/healthz",
    "/processes/upscale",
    "/jobs",
    "/jobs/JOB/results",
    "/jobs/JOB/files/product.tif",
    "/jobs/JOB/files/product.json",
    "/jobs/JOB/files/product.zip",
    "/jobs/JOB/map/WebMercatorQuad/tilejson.json",
    "/collections/results/items",
    "/scenes/demo/tiles/14/8192/8192",
    "/page/main.js",
]


@pytest.fixture(scope="module")
def finished(service):
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    return job


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_a_body(service, finished, path):
    path = path.replace("JOB", finished)
    head, got = service.http.head(path), service.http.get(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag", "accept-ranges"):
        assert head.headers.get(name) == got.headers.get(name), name


def test_a_method_that_a_path_has_not_is_answered_with_those_that_it_has(service):
    for path, methods in (
        ("/jobs/a", "DELETE, GET, HEAD, PATCH"),
        ("/fields", "GET, HEAD, POST"),
        ("/about", "GET, HEAD"),
    ):
        answer = service.http.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_a_file_that_is_known_is_not_sent_again(service, finished):
    for name in ("product.tif", "product.json"):
        path = f"/jobs/{finished}/files/{name}"
        tag = service.http.get(path).headers["etag"]
        again = service.http.get(path, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert service.http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_gdal_reads_parts_of_a_product_where_it_is(service, finished):
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_HTTP_MAX_RETRY=0, no_proxy="127.0.0.1"):
        address = f"/vsicurl/{service.address}/jobs/{finished}/files/product.tif"
        with rasterio.open(address) as there, rasterio.open(service.data / "jobs" / finished / "product.tif") as here:
            window = rasterio.windows.Window(20, 30, 8, 8)
            assert (there.read(window=window) == here.read(window=window)).all()


def test_openapi_3_0_is_what_3_1_says_in_its_own_words(service):
    links = {link["type"]: link["href"] for link in service.http.get("/").json()["links"] if "desc" in link["rel"]}
    # The first that OWSLib knows.
    assert list(links) == [
        "application/vnd.oai.openapi+json;version=3.0",
        "application/vnd.oai.openapi+json;version=3.1",
    ]
    old, new = (service.http.get(href).json() for href in links.values())
    assert (old["openapi"][:4], new["openapi"][:4]) == ("3.0.", "3.1.")
    assert old["paths"].keys() == new["paths"].keys()
    assert "head" not in old["paths"]["/jobs"]
    # Tuples of an older form are none in 3.1.
    assert '"items": [' not in json.dumps(new)
    assert "text/plain" in new["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    text = json.dumps(old)
    for newer in ('{"type": "null"}', '"prefixItems"', '"const"'):
        assert newer not in text


def test_schemas_of_3_1_are_put_into_words_of_3_0():
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"}
    assert as_3_0(schema) == {"openapi": "3.0.3", "type": "string", "nullable": True, "title": "T"}
    schema = {"anyOf": [{"$ref": "#/a"}, {"type": "null"}]}
    assert as_3_0(schema) == {"openapi": "3.0.3", "anyOf": [{"$ref": "#/a"}], "nullable": True}
    assert as_3_0({"type": "number", "exclusiveMinimum": 0})["minimum"] == 0
    assert as_3_0({"type": "string", "const": "x"})["enum"] == ["x"]


def test_the_collection_says_where_and_when_its_items_are(service, finished):
    collection = service.http.get("/collections/results").json()
    items = service.http.get("/collections/results/items").json()["features"]
    assert collection["itemType"] == "feature"
    (box,) = collection["extent"]["spatial"]["bbox"]
    assert box == [f([item["bbox"][side] for item in items]) for side, f in enumerate((min, min, max, max))]


def item_of(box, **when):
    return {"bbox": box, "properties": when}


def test_extents_hold_all_items():
    first = item_of([10, 5, 11, 6], datetime="2023-05-01T00:00:00Z")
    later = item_of([-3, 1, 0, 20, 7, 9], datetime=None, start_datetime="2023-06-01T00:00:00Z", end_datetime=None)
    both = extent_of([first, later])
    assert both["spatial"]["bbox"] == [[-3, 1, 20, 7]]
    assert both["temporal"]["interval"] == [["2023-05-01T00:00:00+00:00", None]]
    across = extent_of([first, item_of([179, 0, -179, 1])])
    assert across["spatial"]["bbox"] == [[-180, 0, 180, 6]]
    assert extent_of([])["temporal"]["interval"] == [[None, None]]


def test_keys_are_part_of_the_description_and_of_what_pages_elsewhere_may_read(tmp_path):
    with served(tmp_path / "data", keys="true", cors_origins='["https://maps.example"]') as service:
        document = service.http.get("/api").json()
        assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
        assert {"key": []} in document["paths"]["/jobs"]["get"]["security"]
        assert "security" not in document["paths"]["/conformance"]["get"]
        answer = service.http.get("/", headers={"Origin": "https://maps.example"})
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"content-range", "accept-ranges", "etag", "content-length"} <= set(exposed)


def test_wmts_of_a_result_leads_to_its_tiles(service, finished):
    def layers(query=""):
        answer = service.http.get(f"/jobs/{finished}/wmts{query}")
        assert answer.headers["content-type"] == "application/xml"
        root = ElementTree.fromstring(answer.content)
        addresses = [one.get("template") for one in root.iter("{http://www.opengis.net/wmts/1.0}ResourceURL")]
        for name, number in (("TileMatrix", 16), ("TileCol", 32769), ("TileRow", 32769)):
            addresses = [one.replace(f"{{{name}}}", str(number)) for one in addresses]
        return addresses

    (product,) = layers()
    with Image.open(io.BytesIO(service.http.get(product).content)) as tile:
        pixels = np.asarray(tile.convert("RGBA"))
    # Neither black nor white: its colours are those of its style.
    assert (pixels[..., 3] == 255).all()
    assert 30 < pixels[..., :3].mean() < 225
    (asked,) = layers("?bidx=4&rescale=0,3000&service=WMTS&request=GetCapabilities")
    assert asked.endswith("?bidx=4&rescale=0,3000")
    assert service.http.get(asked).status_code == 200
    assert service.http.get("/jobs/none/wmts").status_code == 404


def test_qgis_draws_tiles_wmts_and_cog_where_they_are(service, finished):
    qgis_python()
    product = f"{service.address}/jobs/{finished}/files/product.tif"
    told = clients.qgis(clients.Session(service.address, None, product, finished))
    assert told.count("drawn as its tile") == 3
    assert "COG 3" in told
