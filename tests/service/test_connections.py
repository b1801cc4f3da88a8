"""Connections that are slow, or too many of one address, leave room for those of others."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from geosr.service.run import PlainFormatter
from geosr.service.security.connections import ConnectionLimits, _network_of

HALF = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"
HALF_BODY = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf"


async def app(scope, receive, send):
    """Answer with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def server(limits: ConnectionLimits, most: int = 500) -> Iterator[int]:
    """A server of :func:`app` in this process; yields its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    config = uvicorn.Config(
        app, http=limits.protocol(), log_config=None, lifespan="off", limit_concurrency=most, timeout_keep_alive=600
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = running.force_exit = True
        thread.join()
        listener.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def heard(client: socket.socket) -> bytes:
    """Bytes that come until the server ends the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(10_000):
            parts.append(part)
    return b"".join(parts)


def ask(port: int, address: str) -> httpx.Response:
    """A request from an address of this machine."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
        return client.post(f"http://127.0.0.1:{port}/", content=b"abc")


def test_half_sent_requests_of_one_address_leave_room_for_others():
    """They are as many as the service takes in all, and never end."""
    limits = ConnectionLimits(head_s=600, body_bytes_per_s=1, per_address=8, idle_s=600)
    with server(limits, most=20) as port, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(25)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(HALF)
        refused = [heard(client) for client in clients[limits.per_address :]]
        assert all(one == b"" or one.startswith(b"HTTP/1.1 429 ") for one in refused)
        assert ask(port, "127.0.0.2").text == "3"


@pytest.mark.parametrize(("sent", "limit"), [(HALF, {"head_s": 0.01}), (HALF_BODY, {"look_s": 0.01})])
def test_what_does_not_come_in_time_is_not_waited_for(sent, limit):
    limits = ConnectionLimits(**{"head_s": 600, "body_bytes_per_s": 10**6, "per_address": 8, "idle_s": 600, **limit})
    with server(limits) as port, connected(port) as client:
        client.sendall(sent)
        assert heard(client).startswith(b"HTTP/1.1 408 ")


def test_a_second_request_on_a_connection_has_to_come_in_time_as_well():
    limits = ConnectionLimits(head_s=600, body_bytes_per_s=1, per_address=8, idle_s=600)
    with server(limits) as port, connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")
        limits.head_s = 0.01
        client.sendall(HALF)
        assert b"HTTP/1.1 408 " in heard(client)


def test_a_connection_that_asks_for_nothing_is_closed_without_a_word():
    limits = ConnectionLimits(head_s=600, body_bytes_per_s=1, per_address=8, idle_s=0.01)
    with server(limits) as port, connected(port) as client:
        assert heard(client) == b""


def test_connections_that_are_closed_are_not_counted():
    limits = ConnectionLimits(head_s=600, body_bytes_per_s=1, per_address=3, idle_s=600)
    with server(limits) as port:
        for _ in range(30):
            with connected(port) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert heard(client).startswith(b"HTTP/1.1 200 ")
    assert not limits.open


def test_an_ipv6_network_counts_as_one_address():
    assert _network_of("2001:db8::1") == _network_of("2001:db8::ffff") != _network_of("2001:db8:0:1::1")
    assert _network_of("::ffff:10.0.0.1") == _network_of("10.0.0.1") != _network_of("10.0.0.2")


def test_lines_of_the_log_are_not_forged():
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s %s", ("GET", "/a\n12:00:00 info all is well\x1b[2J"), None)
    line = PlainFormatter().format(record)
    assert line.isprintable()
    assert line.endswith("info GET /a?12:00:00 info all is well?[2J")
