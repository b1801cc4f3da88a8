"""A server on loopback that gives a folder's files in parts, and can be told to fail as servers do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WebFiles:
    """The files of a folder, and how they are served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.tags: tuple[str, ...] = ("ETag", "Last-Modified")
        """Which of these headers answers have."""
        self.mirrors = 1
        """Number of servers that take turns behind the address, each with ETags of its own."""
        self.status: int | None = None
        """Status of every answer from now on; None for the usual one."""
        self.asked: list[tuple[str, str]] = []
        """Method and path of each request."""
        self.stalls_beyond: float | None = None
        """Share of a file beyond which requests are taken, and no byte of it comes."""
        self.over = threading.Event()

    def url(self, name: str) -> str:
        """Address of a file."""
        return f"{self.address}/{name}"

    def stalls(self, last: int, size: int) -> bool:
        """Return True if a request up to a byte of a file gets no answer."""
        return self.stalls_beyond is not None and last >= self.stalls_beyond * size


@contextmanager
def web_files(folder: Path) -> Iterator[WebFiles]:
    """Serve a folder for as long as the block lasts."""
    files = WebFiles(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.asked.append((self.command, self.path))
            path = folder / self.path.partition("?")[0].lstrip("/")
            if files.status is not None or not path.is_file():
                self.send_response(files.status or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content, size = path.read_bytes(), path.stat().st_size
            end = size - 1
            asked = self.headers.get("Range")
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                end = min(int(last or size), size - 1)
                content = content[int(first) : end + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{end}/{size}")
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            changed = path.stat().st_mtime
            mirror = len(files.asked) % files.mirrors
            versions = {
                "ETag": f'"{changed:f}-{size:x}-{mirror}"',
                "Last-Modified": self.date_time_string(int(changed)),
            }
            for name in files.tags:
                self.send_header(name, versions[name])
            self.end_headers()
            if self.command == "HEAD":
                return
            if files.stalls(end, size):
                files.over.wait()
                return
            self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        # Readers go away as they please.
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files.address = f"http://127.0.0.1:{server.server_port}"
    # Between two looks whether it is to end, in seconds; the default would let each end of a server take half a second.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield files
    finally:
        files.over.set()
        server.shutdown()
        server.server_close()
