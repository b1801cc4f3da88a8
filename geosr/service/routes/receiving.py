"""Bodies of requests, received into files within limits."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from geosr.service.problems import Problem


async def received(request: Request, path: Path, most: int) -> None:
    """Write the body of a request to a file. Raises :class:`Problem` for more than ``most`` bytes."""
    announced = request.headers.get("content-length", "0")
    _check(int(announced) if announced.isdigit() else 0, most)
    size = 0
    with path.open("wb") as file:
        async for part in request.stream():
            size += len(part)
            _check(size, most)
            await run_in_threadpool(file.write, part)


def _check(size: int, most: int) -> None:
    if size > most:
        raise Problem(413, f"uploads are taken up to {most} bytes")
