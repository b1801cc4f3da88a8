"""What is refused before a route or a key has been looked at."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import psutil
import pytest

from geosr.service.entrance import MOST_BODY_BYTES
from tests.service.conftest import served

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
    with socket.create_connection((place.hostname, place.port), timeout=10) as client:
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
