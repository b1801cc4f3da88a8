"""Requests to a STAC API, with limits on the time and size of everything that one search fetches."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from catalog import web
from catalog.errors import SearchError
from catalog.strict_json import json_text

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

#: Most bytes and seconds of a search: of its landing page and all pages of its answer.
_MOST_BYTES = 256 * 2**20
_MOST_S = 600.0

_JSON_METHODS = ("POST", "PUT", "PATCH")


def bounded_io(api: str) -> StacApiIO:
    """Make the connection of one search to the API at an address."""
    import requests
    from pystac_client.stac_api_io import StacApiIO

    class BoundedIO(StacApiIO):
        """Asks as :func:`catalog.web.fetch` does, from which retries and bounds come."""

        def __init__(self) -> None:
            super().__init__(max_retries=None)
            self._left, self._deadline = _MOST_BYTES, time.monotonic() + _MOST_S

        def request(
            self,
            href: str,
            method: str | None = None,
            headers: dict[str, str] | None = None,
            parameters: dict[str, Any] | None = None,
        ) -> str:
            method = (method or "GET").upper()
            as_json = method in _JSON_METHODS
            address = href if as_json else str(requests.Request(method, href, params=parameters).prepare().url)
            body = json.dumps(parameters).encode() if as_json else None
            kind = {"Content-Type": "application/json"} if as_json else {}
            left = self._deadline - time.monotonic()
            if left <= 0 or self._left <= 0:
                raise SearchError(f"{api} goes on answering: narrow the dates or the area")
            answer = web.fetch(
                web.Request(address, method=method, headers={**kind, **(headers or {})}, body=body),
                most_bytes=self._left,
                total_s=min(left, web.TOTAL_S),
            )
            self._left -= len(answer.content)
            if not 200 <= answer.status < 300:
                said = answer.content[:200].decode("utf-8", "replace")
                raise SearchError(f"its server answers {answer.status}: {said}".rstrip(": "))
            return json_text(answer.content)

    return BoundedIO()
