"""Limits of connections: those that are too slow, or too many of one address, are ended."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds between looks at how much of a body has come.
_LOOK_S = 10.0

#: Seconds that a connection may be open before anything is asked.
_IDLE_S = 10.0

#: IPv6 addresses are given out in networks of this size.
_IPV6_NETWORK_BITS = 64

_CLOSE = b"Connection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSE
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\n" + _CLOSE


@dataclass
class ConnectionLimits:
    """Limits of all connections of one server, and what is open of each address.

    Parameters
    ----------
    head_s
        Seconds that the head of a request may take from its first byte.
    body_bytes_per_s
        Bytes per second of a body that have to come on average over ten seconds.
    per_address
        Connections of one address, or of one IPv6 network; 0 for no limit.
    look_s
        Seconds between looks at how much of a body has come.
    idle_s
        Seconds that a connection may be open before anything is asked.

    """

    head_s: float
    body_bytes_per_s: int
    per_address: int
    look_s: float = _LOOK_S
    idle_s: float = _IDLE_S
    open: Counter[str] = field(default_factory=Counter)

    def protocol(self) -> type[BoundedProtocol]:
        """Class of the protocol of each connection, uvicorn's ``http``."""

        class Limited(BoundedProtocol):
            limits = self

        return Limited


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 within :class:`ConnectionLimits`."""

    limits: ClassVar[ConnectionLimits]

    _address = ""
    _timer: asyncio.TimerHandle | None = None
    _has_begun = False
    _body_bytes = 0
    _service_waits = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; one too many is refused and closed."""
        super().connection_made(transport)
        address = _network_of(self.client[0]) if self.client else ""
        if self.limits.per_address and self.limits.open[address] >= self.limits.per_address:
            self._end(_TOO_MANY)
            return
        self.limits.open[address] += 1
        self._address = address
        self._wait_for_head(self.limits.idle_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        if self._address:
            self.limits.open[self._address] -= 1
            if not self.limits.open[self._address]:
                del self.limits.open[self._address]
            self._address = ""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, while the connection is open."""
        # The parser goes with the connection, and what was on its way when that was ended is of no use.
        if self.parser is not None and not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the time limit of a head."""
        super().on_message_begin()
        self._has_begun = True
        self._wait_for_head(self.limits.head_s)

    def on_headers_complete(self) -> None:
        """Start to watch how fast the body comes."""
        self._stop_timer()
        self._body_bytes, self._service_waits = 0, False
        super().on_headers_complete()
        self._timer = self.loop.call_later(self.limits.look_s, self._look_at_body)

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the wait: the request is whole."""
        self._stop_timer()
        super().on_message_complete()

    def _wait_for_head(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._end, _TOO_SLOW)

    def _look_at_body(self) -> None:
        # While the service does not read, now or at the last look, it is not the client that is slow.
        waited, self._service_waits = self._service_waits, self.flow.read_paused or self.cycle.waiting_for_100_continue
        slow = self._body_bytes < self.limits.body_bytes_per_s * self.limits.look_s
        if slow and not waited and not self._service_waits:
            self._end(_TOO_SLOW)
            return
        self._body_bytes = 0
        self._timer = self.loop.call_later(self.limits.look_s, self._look_at_body)

    def _end(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return
        # Browsers open connections for later: what has asked for nothing is answered nothing.
        silent = answer is _TOO_SLOW and not self._has_begun
        answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not silent and not answered:
            self.transport.write(answer)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _network_of(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, _IPV6_NETWORK_BITS), strict=False))
