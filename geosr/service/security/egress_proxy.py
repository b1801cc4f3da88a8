"""The only way out: a forward proxy on loopback that connects to allowed hosts, and never to private addresses.

Everything that fetches on behalf of clients, GDAL included, goes through it: what an address redirects to, and what a
name resolves to, is checked where the connection is made.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from catalog import host_allowed

_log = logging.getLogger(__name__)

#: Seconds to connect, and longest head of a request, bytes.
_CONNECT_S = 10
_HEAD_BYTES = 64 * 2**10

_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "GDAL_HTTP_PROXY", "GDAL_HTTPS_PROXY")
#: IPv4 addresses as networks without IPv4 have them (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_EXCEPTIONS = ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")


class Egress:
    """The proxy, in a thread of its own from :meth:`start` to :meth:`stop`."""

    def __init__(self, hosts: Sequence[str], private_hosts: Sequence[str] = ()) -> None:
        """``private_hosts`` are allowed as well, wherever they are."""
        self._hosts = (*hosts, *private_hosts)
        self._private = tuple(private_hosts)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="egress", daemon=True)
        self.address = ""

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """The variables of a process all of whose requests go through the proxy."""
        kept = {name: value for name, value in base.items() if name not in _EXCEPTIONS}
        return {**kept, **dict.fromkeys(_VARIABLES, self.address)}

    def take_over(self) -> None:
        """Send this process's own requests through the proxy."""
        for name in _EXCEPTIONS:
            os.environ.pop(name, None)
        os.environ.update(dict.fromkeys(_VARIABLES, self.address))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES))
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _CONNECT_S)
            line, _, fields = head.partition(b"\r\n")
            method, target, version = line.decode("latin-1").split(" ")
            tunnel = method == "CONNECT"
            url = f"https://{target}" if tunnel else target
            there = await self._connect(url)
            if there is None:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                there[1].write(_onward(method, url, version, fields))
            await _pipe_both(reader, writer, *there)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            with suppress(OSError):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            with suppress(OSError):
                await writer.drain()
                writer.close()

    async def _connect(self, url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to where an address leads; None where it must not lead."""
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if not host_allowed(url, self._hosts) or parts.hostname is None:
            _log.warning("refused to fetch from %s", parts.netloc)
            return None
        found = await self._loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not host_allowed(url, self._private) and not all(map(is_public, addresses)):
            _log.warning("refused to fetch from %s, which is at a private address", parts.netloc)
            return None
        # To the address that was looked at, not to the name, which might lead elsewhere by now.
        return await asyncio.wait_for(asyncio.open_connection(addresses[0], port), _CONNECT_S)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet's; IPv4 in IPv6 is taken for what it is."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def _onward(method: str, url: str, version: str, fields: bytes) -> bytes:
    """The head of a request as its server takes it; the connection serves this request alone."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [
        field
        for field in fields.split(b"\r\n")
        if field and not field.lower().startswith((b"proxy-", b"connection:", b"host:"))
    ]
    # The host that was checked, whatever the request says of it.
    head = [f"{method} {path} {version}".encode("latin-1"), f"Host: {parts.netloc}".encode(), *kept]
    return b"\r\n".join([*head, b"Connection: close", b"", b""])


async def _pipe_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    up = asyncio.create_task(_pipe(reader, far_writer))
    try:
        await _pipe(far_reader, writer)
    finally:
        up.cancel()
        far_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
