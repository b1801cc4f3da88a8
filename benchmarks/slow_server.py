"""A server on loopback that answers late and gives bytes slowly, as one far away does, with ranges as GDAL asks for."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PART_BYTES = 2**16


@dataclass
class SlowServer:
    """HTTP server of a folder with a latency and a bandwidth; counts its answers."""

    latency_s: float
    bytes_per_s: float
    address: str = ""
    requests: int = 0
    given: int = 0
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Count anew."""
        self.requests = self.given = 0

    def wait_for(self, count: int) -> None:
        """Wait until the line, which all connections share, has carried so many bytes more."""
        with self._lock:
            begin = max(time.monotonic(), self._free_at)
            self._free_at = begin + count / self.bytes_per_s
            self.given += count
            until = self._free_at
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def slow_server(folder: Path, *, latency_s: float, bytes_per_s: float) -> Iterator[SlowServer]:
    """Serve a folder's files for as long as the block lasts."""
    server = SlowServer(latency_s, bytes_per_s)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(server.latency_s)
            with server._lock:
                server.requests += 1
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = path.stat().st_size
            first, last = 0, size - 1
            asked = self.headers.get("Range")
            if asked:
                begin, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(begin), min(int(end or last), last)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}"')
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            if self.command == "HEAD":
                return
            with path.open("rb") as file:
                file.seek(first)
                left = last + 1 - first
                while left > 0:
                    part = file.read(min(_PART_BYTES, left))
                    server.wait_for(len(part))
                    self.wfile.write(part)
                    left -= len(part)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        # Readers go away as they please.
        def handle_error(self, *_: object) -> None:
            pass

    listening = Server(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.address = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
