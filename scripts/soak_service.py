"""Service load of ``scripts/soak.py``: clients that ask for tiles, jobs and nonsense, and for more than is allowed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import rasterio

from scripts.mutations import mutate_bytes
from tests.conftest import SAMPLE
from tests.service.conftest import BOX, Service, served

#: Clients at the same time, and limits that they exceed.
_CLIENTS = 12
_LIMITS = {"max_queued_jobs": 3, "requests_per_minute": 600, "live_waiting": 8, "connections_per_address": 10}

#: What a service may answer: what was asked for, no, or later.
_GOOD = frozenset((200, 201, 204, 304, 400, 404, 408, 409, 413, 415, 429, 503))

#: Growth of the service's memory that is no leak, bytes.
_GROWTH_BYTES = 400 * 2**20


def service(folder: Path, seconds: int, seed: int) -> Iterator[tuple[str, str]]:
    """Load of 12 clients beyond the limits, then memory, and a job's pixels against those of a service at rest."""
    with served(folder / "rest", "--demo") as quiet:
        expected = _product(quiet)
    with served(folder / "busy", "--demo", **_LIMITS) as busy:
        begun, counts, faults = _memory(busy), Counter[str](), list[str]()
        deadline, lock = time.monotonic() + seconds, threading.Lock()

        def client(number: int) -> None:
            chance = random.Random(f"service {seed} {number}")
            with httpx.Client(base_url=busy.address, timeout=300, trust_env=False) as http:
                while time.monotonic() < deadline:
                    kind, fault = _ask(http, chance)
                    with lock:
                        counts[kind] += 1
                        if fault:
                            faults.append(f"{kind}: {fault}")

        threads = [threading.Thread(target=client, args=(number,)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for kind, number in counts.items():
            yield from ((kind, "") for _ in range(number))
        yield from (("fault", fault) for fault in faults)
        _settle(busy)
        yield "product after the load", "" if _product(busy) == expected else "its pixels are others"
        growth = _memory(busy) - begun
        yield "memory after the load", "" if growth < _GROWTH_BYTES else f"grew by {growth >> 20} MiB"


def _ask(http: httpx.Client, chance: random.Random) -> tuple[str, str]:
    kind = chance.choices(("tile", "point", "job", "upload", "nonsense", "list"), (60, 10, 8, 2, 10, 10))[0]
    try:
        if kind == "tile":
            zoom = chance.choice((14, 15, 16, 17))
            x, y = (2 ** (zoom - 1) + chance.randrange(-1, 4) for _ in range(2))
            layer = chance.choice(("sr", "source", "sr", "nowhere"))
            answer = http.get(f"/scenes/demo/tiles/{zoom}/{x}/{y}", params={"layer": layer})
        elif kind == "point":
            place = {"lon": chance.uniform(0, 0.03), "lat": -chance.uniform(0, 0.03)}
            answer = http.get("/scenes/demo/point", params=place)
        elif kind == "job":
            west, south = chance.uniform(0, 0.02), -chance.uniform(0.005, 0.025)
            inputs = {"scene": "demo", "bbox": [west, south, west + 0.003, south + 0.003]}
            answer = http.post(
                "/processes/upscale/execution", json={"inputs": inputs}, headers={"Prefer": "respond-async"}
            )
        elif kind == "upload":
            content = mutate_bytes(SAMPLE.read_bytes(), chance)[0]
            answer = http.post("/scenes/upload", content=content, headers={"content-type": "image/tiff"})
            if answer.status_code == 201:
                http.delete(f"/scenes/{answer.json()['id']}")
        elif kind == "nonsense":
            path = "/" + "/".join(
                chance.choice(("scenes", "jobs", "..", "%00", "results", "x" * 300)) for _ in range(3)
            )
            answer = http.request(chance.choice(("GET", "POST", "DELETE")), path, content=chance.randbytes(100))
        else:
            answer = http.get(chance.choice(("/jobs", "/scenes", "/collections", "/healthz", "/readyz")))
    except httpx.TransportError:
        # Connections beyond what an address may have are closed.
        time.sleep(0.5)
        return f"{kind}, no connection", ""
    if answer.status_code in (429, 503):
        time.sleep(0.2)
    good = answer.status_code in _GOOD | {401, 403, 405, 307}
    return f"{kind}, {answer.status_code}", "" if good else f"{answer.request.url}: {answer.text[:200]}"


def _settle(running: Service) -> None:
    """Wait until the service has no unfinished job, and takes requests again."""
    while True:
        answer = running.http.get("/jobs", params={"status": "accepted,running"})
        if answer.status_code == 200 and not answer.json()["jobs"]:
            return
        time.sleep(1)


def _product(running: Service) -> bytes:
    job = running.submit(scene="demo", bbox=BOX)
    status = running.wait(job, seconds=600)
    if status["status"] != "successful":
        raise RuntimeError(str(status))
    # Its tags name the file of the sample, of which each service has a copy of its own.
    with rasterio.open(running.data / "jobs" / job / "product.tif") as product:
        return bytes(product.read().tobytes())


def _memory(running: Service) -> int:
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * 4096
