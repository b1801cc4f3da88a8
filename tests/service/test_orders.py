"""Orders: how results are wanted is kept, the same order is one job, and nobody orders without end or by guessing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import httpx
import pytest

from geosr.service.problems import Problem
from geosr.service.security.signed_links import SignedLinks
from tests.conftest import SAMPLE, run_here
from tests.service.conftest import BOX, served

# Services start in processes of their own.
pytestmark = pytest.mark.slow

ASYNC = {"Prefer": "respond-async"}


def order(http, headers=ASYNC, inputs=None, **content):
    inputs = {"scene": "demo", "bbox": BOX} if inputs is None else inputs
    return http.post("/processes/upscale/execution", json={"inputs": inputs, **content}, headers=headers)


def finished(service, **content):
    job = order(service.http, **content).json()["jobID"]
    assert service.wait(job)["status"] == "successful"
    return job


def test_the_same_order_is_one_job(service):
    jobs = {order(service.http).json()["jobID"] for _ in range(5)}
    assert len(jobs) == 1
    (job,) = jobs
    service.wait(job)
    assert order(service.http).json()["jobID"] == job
    # What is delivered otherwise is an order of its own, answered by the same files.
    raw = order(service.http, response="raw").json()
    assert raw["jobID"] != job
    assert raw["status"] == "successful"
    assert order(service.http, inputs={"scene": "demo", "bbox": BOX, "fill": True}).json()["jobID"] != job


def test_an_order_that_was_dismissed_is_made_anew(service):
    inputs = {"scene": "demo", "bbox": BOX, "max_cloud": 51}
    job = order(service.http, inputs=inputs).json()["jobID"]
    service.http.delete(f"/jobs/{job}")
    assert order(service.http, inputs=inputs).json()["jobID"] != job


def test_results_of_a_job_are_those_that_were_ordered(service):
    outputs = {"item": {"transmissionMode": "value"}, "product": {"transmissionMode": "value"}}
    content = service.http.get(f"/jobs/{finished(service, outputs=outputs)}/results").json()
    assert content["item"]["value"]["type"] == "Feature"
    product = base64.b64decode(content["product"]["value"])
    assert product[:2] == b"II"
    only = finished(service, outputs={"product": {"transmissionMode": "reference"}})
    assert list(service.http.get(f"/jobs/{only}/results").json()) == ["product"]
    raw = finished(service, outputs={"product": {"transmissionMode": "value"}}, response="raw")
    answer = service.http.get(f"/jobs/{raw}/results")
    assert answer.headers["content-type"].startswith("image/tiff")
    assert answer.content == product
    linked = finished(service, outputs={"product": {}}, response="raw")
    assert service.http.get(f"/jobs/{linked}/results").status_code == 204


def test_inputs_may_be_qualified_values(service):
    crs84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
    plain = order(service.http).json()["jobID"]
    for box in (BOX, {"bbox": BOX}, {"bbox": BOX, "crs": crs84}):
        inputs = {"scene": {"value": "demo"}, "bbox": {"value": box, "mediaType": "application/json"}}
        assert order(service.http, inputs=inputs).json()["jobID"] == plain
    wrong = {"scene": "demo", "bbox": {"bbox": BOX, "crs": "http://www.opengis.net/def/crs/EPSG/0/3857"}}
    assert order(service.http, inputs=wrong).status_code == 400


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A service that needs keys, with narrow limits; and headers with a key of it."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    key = run_here("keys", "create", "a", "--data", data).stdout.split()[1]
    limits = {"refused_keys_per_minute": 3, "orders_per_hour": 2, "uploads_per_hour": 1}
    with served(data, "--demo", keys="true", **limits) as service:
        yield service, {"X-API-Key": key}


def test_a_signed_link_leads_to_a_file_without_a_key(guarded):
    service, mine = guarded
    job = order(service.http, {**ASYNC, **mine}).json()["jobID"]
    deadline = time.monotonic() + 120
    while service.http.get(f"/jobs/{job}", headers=mine).json()["status"] != "successful":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    links = service.http.get(f"/jobs/{job}/links", headers=mine).json()
    assert set(links) == {"bundle", "product", "item"}
    href = links["product"]["href"]
    assert mine["X-API-Key"] not in href
    whole = service.http.get(f"/jobs/{job}/files/product.tif", headers=mine)
    assert service.http.get(href).content == whole.content
    assert service.http.get(href, headers={"Range": "bytes=0-3"}).status_code == 206
    for wrong in (href.replace("product.tif", "product.json"), href.replace(job, "0" * 24)):
        assert service.http.get(wrong).status_code == 403
    # Two orders an hour: one is left.
    assert order(service.http, {**ASYNC, **mine}).json()["jobID"] == job
    refused = order(service.http, {**ASYNC, **mine})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 60


def test_a_key_in_an_address_goes_on_to_the_tiles_that_it_leads_to(guarded):
    service, mine = guarded
    key = mine["X-API-Key"]
    for document in ("tilejson.json?layer=original", "wmts?bands=B04"):
        path = f"/scenes/demo/{document}"
        # Programs that cannot send headers send none with tiles either.
        assert f"api_key={key}" in service.http.get(f"{path}&api_key={key}").text
        assert key not in service.http.get(path, headers=mine).text
    (tiles,) = service.http.get(f"/scenes/demo/tilejson.json?layer=original&api_key={key}").json()["tiles"]
    address = tiles.replace("{z}", "14").replace("{x}", "8192").replace("{y}", "8192")
    assert service.http.get(address).status_code == 200


def test_new_scenes_are_counted(guarded):
    service, mine = guarded
    content = SAMPLE.read_bytes()
    answers = [service.http.post("/scenes/upload", content=content, headers=mine).status_code for _ in range(2)]
    assert answers == [201, 429]


def test_who_guesses_keys_is_not_answered_for_a_while(guarded):
    service, mine = guarded
    with httpx.Client(
        base_url=service.address, transport=httpx.HTTPTransport(local_address="127.0.0.3"), timeout=60
    ) as stranger:
        answers = [stranger.get("/jobs", headers={"X-API-Key": f"geosr_{i}"}) for i in range(5)]
        assert [one.status_code for one in answers] == [401, 401, 401, 429, 429]
        assert "retry-after" in answers[-1].headers
        # A key that holds is let in from there all the same.
        assert stranger.get("/jobs", headers=mine).status_code == 200


def test_links_hold_for_their_time_and_for_one_file(tmp_path, monkeypatch):
    links = SignedLinks(tmp_path, hours=1)
    path, expires = links.path("ab", "product.tif")
    _, _, job, _, signature, name = path.split("/")
    # The secret outlives a restart, and is nobody else's.
    SignedLinks(tmp_path, hours=1).check(job, name, expires, signature)
    assert (tmp_path / "links.key").stat().st_mode & 0o077 == 0
    (tmp_path / "other").mkdir()
    with pytest.raises(Problem, match="not signed"):
        SignedLinks(tmp_path / "other", hours=1).check(job, name, expires, signature)
    with pytest.raises(Problem, match="not signed"):
        links.check(job, name, expires + 1, signature)
    monkeypatch.setattr(time, "time", lambda: expires + 1)
    with pytest.raises(Problem, match="ask for another"):
        links.check(job, name, expires, signature)


@pytest.mark.parametrize("left", [b"", b"half"])
def test_a_secret_that_was_not_written_whole_is_made_anew(tmp_path, left):
    (tmp_path / "links.key").write_bytes(left)
    path, expires = SignedLinks(tmp_path, hours=1).path("ab", "product.tif")
    forged = hmac.new(left, f"ab/product.tif/{expires}".encode(), hashlib.sha256).hexdigest()
    assert forged not in path
    assert (tmp_path / "links.key").stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.iterdir()] == ["links.key"]
