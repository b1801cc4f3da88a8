"""A server on loopback that gives files in parts, and fails as it is told, request by request."""

from __future__ import annotations

import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

#: What may happen to a request: an answer of a status, a connection that is reset or closed, half an answer, one byte
#: after another for ever, or bytes without end.
KINDS = ("500", "502", "503", "504", "429", "reset", "closed", "half", "half, then reset")

#: Answers that are wrong in other ways: with a time to wait for, late, of another address, of another range, or of
#: something else.
STRANGE = (
    "429, again in 1 s",
    "503, again in a day",
    "slow",
    "stalled",
    "redirect",
    "redirect loop",
    "redirect to a file",
    "whole file",
    "other range",
    "shorter range",
    "416",
    "page of HTML",
    "empty",
    "404",
)

_RETRY_AFTER = {"429, again in 1 s": "1", "503, again in a day": "86400"}

_PAGE = b"<!DOCTYPE html><html><body>Log in to the network</body></html>"


@dataclass
class Flaky:
    """Contents and faults of the server."""

    contents: dict[str, bytes] = field(default_factory=dict)
    """By path."""
    faults: list[str] = field(default_factory=list)
    """One for each of the next requests, in order; an empty one is answered well."""
    plans: dict[str, list[str]] = field(default_factory=dict)
    """Faults of the next requests for one path, which come after those of any."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of every answer."""
    made: Callable[[str], bytes] | None = None
    """Makes what is not there, by its path with its query."""
    slow_s: float = 0.3
    """Seconds before a slow answer begins."""
    stalled_s: float = 60
    """Seconds for which nothing comes of a stalled one."""
    asked: list[str] = field(default_factory=list)
    address: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str, user: str = "") -> str:
        """Address of a file, with a user's name and password where some are given."""
        return f"{self.address.replace('//', f'//{user}@') if user else self.address}/{name}"


@contextmanager
def flaky_server(
    contents: Mapping[str, bytes] | None = None, *, tls: ssl.SSLContext | None = None, stalled_s: float = 60
) -> Iterator[Flaky]:
    """Serve for as long as the block lasts, by HTTPS with a context of TLS."""
    flaky = Flaky(dict(contents or {}), stalled_s=stalled_s)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            flaky.asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            faults = flaky.faults or flaky.plans.get(path)
            fault = faults.pop(0) if faults else ""
            if fault in ("reset", "closed"):
                return self.hang_up(reset=fault == "reset")
            if fault[:3].isdecimal():
                return self.answer(int(fault[:3]), b"", fault)
            if fault.startswith("redirect"):
                return self.redirect(fault)
            if fault == "stalled":
                flaky.over.wait(flaky.stalled_s)
                return self.hang_up(reset=False)
            if fault == "slow":
                flaky.over.wait(flaky.slow_s)
            body = _PAGE if fault == "page of HTML" else b"" if fault == "empty" else flaky.contents.get(path)
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
            if fault in _RETRY_AFTER:
                extra["Retry-After"] = _RETRY_AFTER[fault]
            if asked and status == 200 and size and fault != "whole file":
                first, _, last = asked.removeprefix("bytes=").partition("-")
                begin, end = int(first), min(int(last or size), size - 1)
                if fault == "other range":
                    begin = begin - 7 if begin > 7 else begin + 7
                    end = max(begin, end)
                if fault == "shorter range":
                    end = begin + (end - begin) // 2
                body, status = body[begin : end + 1], 206
                extra["Content-Range"] = f"bytes {begin}-{end}/{size}"
            self.send_response(status)
            for name, value in {**extra, **flaky.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[: len(body) // 2] if fault.startswith("half") else body)
            if fault.startswith("half"):
                self.hang_up(reset="reset" in fault)

        def redirect(self, fault: str) -> None:
            # Each address of a loop is another one, as of servers that count their visitors.
            places = {
                "redirect loop": f"{self.path}{'&' if '?' in self.path else '?'}again",
                "redirect to a file": "file:///etc/hostname",
            }
            self.send_response(302)
            self.send_header("Location", places.get(fault, f"{flaky.address}{self.path}"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            if fault == "redirect loop":
                flaky.plans.setdefault(self.path.partition("?")[0], [])[:0] = [fault]

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
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    flaky.address = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    # Between two looks whether it is to end, in seconds; the default would let each end of a server take half a second.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield flaky
    finally:
        flaky.over.set()
        server.shutdown()
        server.server_close()
