"""A server on loopback that gives files in parts, and fails as it is told, request by request."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

#: What may happen to a request: an answer of a status, a connection that is reset or closed, half an answer, one byte
#: after another for ever, or bytes without end.
KINDS = ("500", "502", "503", "504", "429", "reset", "closed", "half", "half, then reset")


@dataclass
class Flaky:
    """Contents and faults of the server."""

    contents: dict[str, bytes] = field(default_factory=dict)
    """By path."""
    faults: list[str] = field(default_factory=list)
    """One for each of the next requests, in order; an empty one is answered well."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of every answer."""
    made: Callable[[str], bytes] | None = None
    """Makes what is not there, by its path with its query."""
    asked: list[str] = field(default_factory=list)
    address: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str, user: str = "") -> str:
        """Address of a file, with a user's name and password where some are given."""
        return f"{self.address.replace('//', f'//{user}@') if user else self.address}/{name}"


@contextmanager
def flaky_server(contents: Mapping[str, bytes] | None = None) -> Iterator[Flaky]:
    """Serve for as long as the block lasts."""
    flaky = Flaky(dict(contents or {}))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            flaky.asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = flaky.faults.pop(0) if flaky.faults else ""
            if fault in ("reset", "closed"):
                return self.hang_up(reset=fault == "reset")
            if fault.isdecimal():
                return self.answer(int(fault), b"")
            body = flaky.contents.get(self.path.partition("?")[0])
            if body is None and flaky.made is not None:
                body = flaky.made(self.path)
            if body is None:
                return self.answer(404, b"")
            if fault == "drip":
                return self.go_on(b" ", pause=0.02)
            if fault == "endless":
                return self.go_on(bytes(2**20), pause=0)
            return self.answer(200, body, fault)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def answer(self, status: int, body: bytes, fault: str = "") -> None:
            size, asked = len(body), self.headers.get("Range")
            extra = {"ETag": '"1"'} if status == 200 else {}
            if asked and status == 200:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                end = min(int(last or size), size - 1)
                body, status = body[int(first) : end + 1], 206
                extra["Content-Range"] = f"bytes {first}-{end}/{size}"
            self.send_response(status)
            for name, value in {**extra, **flaky.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[: len(body) // 2] if fault.startswith("half") else body)
            if fault.startswith("half"):
                self.hang_up(reset="reset" in fault)

        def go_on(self, part: bytes, pause: float) -> None:
            self.send_response(200)
            self.end_headers()
            while not flaky.over.wait(pause):
                self.wfile.write(part)
            self.close_connection = True

        def hang_up(self, *, reset: bool) -> None:
            self.wfile.flush()
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        # Readers go away as they please.
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    flaky.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield flaky
    finally:
        flaky.over.set()
        server.shutdown()
        server.server_close()
