"""Requests that are refused before a route or a key has been looked at."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import psutil
import pytest

from geosr.service.security.request_guard import MOST_BODY_BYTES
from tests.conftest import SAMPLE
from tests.service.conftest import served

# Services start in processes of their own.
pytestmark = pytest.mark.slow

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A service that needs keys, of which there are none."""
    with served(tmp_path_factory.mktemp("locked"), keys="true") as running:
        yield running


def refused(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.mark.parametrize("path", ["/scenes", "/catalogue/search", "/search", "/processes/upscale/execution"])
def test_a_body_that_is_announced_too_long_is_not_waited_for(locked, path):
    place = urlsplit(locked.address)
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n".encode())
        answer = client.recv(10_000)
    assert b" 413 " in answer.splitlines()[0]
    assert b"application/problem+json" in answer


def test_a_body_without_a_length_is_counted(locked):
    def spaces():
        for _ in range(200):
            yield b" " * 2**20

    before = psutil.Process(locked.process.pid).memory_info().rss
    refused(locked.http.post("/scenes", content=spaces(), headers=JSON), 413)
    assert psutil.Process(locked.process.pid).memory_info().rss - before < 50 * 2**20


def test_bodies_within_the_limit_and_uploads_pass(locked):
    fits = b" " * (MOST_BODY_BYTES - 2) + b"{}"
    refused(locked.http.post("/scenes", content=fits, headers=JSON), 401)
    refused(locked.http.post("/scenes/upload", content=bytes(MOST_BODY_BYTES + 1)), 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        # A name that was made to lead here: the page looks like one of the service's own.
        {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.168.0.1"},
        {"Host": "["},
    ],
)
def test_without_keys_pages_of_others_may_not_ask(service, headers):
    plain = {"content-type": "text/plain", **headers}
    refused(service.http.post("/scenes/upload", content=SAMPLE.read_bytes(), headers=plain), 403)
    refused(service.http.get("/scenes", headers=headers), 403)
    assert [one["id"] for one in service.http.get("/scenes").json()["scenes"]] == ["demo"]


@pytest.mark.parametrize(
    "name", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:9000", "127.0.0.2"]
)
def test_without_keys_the_page_may_ask_by_every_name_of_the_machine(service, name):
    host = name.format(port=urlsplit(service.address).port)
    for origin in ({}, {"Origin": f"http://{host}"}):
        assert service.http.get("/scenes", headers={"Host": host, **origin}).status_code == 200


def test_behind_a_proxy_the_page_asks_by_the_public_address_whatever_host_the_proxy_names(tmp_path):
    settings = {
        "public_url": "https://maps.example/sr",
        "cors_origins": '["https://friends.example"]',
        "keys": False,
        "open_to_all": True,
    }
    with served(tmp_path / "data", **settings) as service:
        for host in ("maps.example", urlsplit(service.address).netloc):
            for origin in ("https://maps.example", "https://friends.example"):
                headers = {"Host": host, "Origin": origin}
                refused(service.http.post("/scenes", json={}, headers=headers), 400)
        refused(service.http.post("/scenes", json={}, headers={"Origin": "https://evil.example"}), 403)
        refused(service.http.get("/scenes", headers={"Host": "evil.example"}), 403)


def test_with_keys_a_host_is_any_and_the_key_decides(locked):
    refused(locked.http.get("/scenes", headers={"Host": "maps.example", "Origin": "https://maps.example"}), 401)
