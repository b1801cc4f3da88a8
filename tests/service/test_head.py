"""HEAD of answers that are made while they are sent."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from geosr.service.head import HeadAsGet


def test_head_reads_nothing_of_a_body_after_its_beginning():
    made = []

    def parts():
        for number in range(100):
            made.append(number)
            yield b"x"

    async def ask(method):
        app = HeadAsGet(Starlette(routes=[Route("/", lambda request: StreamingResponse(parts()))]))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as http:
            return await http.request(method, "/")

    head = asyncio.run(ask("HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert made == [0]
    assert asyncio.run(ask("GET")).content == b"x" * 100
