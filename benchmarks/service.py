"""The service: its page, live tiles with one client and with eight, routes under load, an attack, a hundred clients.

    python benchmarks/service.py

The service runs as a process of its own, with keys off, on a scene that is the bundled sample, repeated. Tiles are
256 pixels wide, at the zoom at which a tile's pixels are about the product's. Each round asks for tiles that nobody has
asked for, then for the same again. The bare network is timed alone, in the windows of the chunks. The page's first map
is the sample in Chromium, left out where there is none. The attack is half-sent requests of one address, at the limits
that the service has by default.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from machine import arguments_of, command_of, keep
from scenes import write_scene
from service_routes import measure_attack, measure_first_map, measure_routes

from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.service.settings import ServiceSettings

HERE = Path(__file__).parent

ZOOM = 16
CLIENTS = (1, 8)

#: Shares of what the many clients do.
_TILES, _STATUSES = 0.6, 0.3

_SIDE_PX = 2048


@contextmanager
def served(data: Path, **settings: Any) -> Iterator[tuple[psutil.Process, str]]:
    """A service in a process of its own; yields that and its address."""
    data.mkdir(exist_ok=True)
    config = data / "service.yaml"
    config.write_text(json.dumps({"port": 0, "requests_per_minute": 10**6, **settings}))
    log = (data / "log").open("w+")
    command = [sys.executable, "-m", "geosr", "serve", "--config", config, "--data", data / "service", "--json"]
    with psutil.Popen(list(map(str, command)), stderr=log) as process:
        try:
            while "serves at" not in (told := (data / "log").read_text()):
                assert process.poll() is None, told
                time.sleep(0.1)
            address = next(line for line in told.splitlines() if "serves at" in line)
            address = json.loads(address)["message"].split()[2].rstrip("/,")
            while not _ready(address):
                time.sleep(0.1)
            yield process, address
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def tiles_of(scene: dict[str, Any]) -> list[str]:
    """Addresses of all tiles inside a scene, near its middle first."""
    west, south, east, north = scene["bbox"]
    side = 2**ZOOM
    cols = range(int((west + 180) / 360 * side) + 1, int((east + 180) / 360 * side))
    # Near the equator, where the scene lies, Mercator's rows are as far apart as its columns.
    rows = range(int(side / 2 - north / 360 * side) + 1, int(side / 2 - south / 360 * side))
    places = [(x, y) for y in rows for x in cols]
    return [f"/scenes/{scene['id']}/tiles/{ZOOM}/{x}/{y}" for x, y in places]


def fetch_all(address: str, paths: list[str], clients: int) -> list[float]:
    """Seconds that each answer took, with so many clients that ask one after the other.

    The clients are the standard library's, each in a thread: others take longer than the service.
    """
    place = urlsplit(address)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for path in paths:
        waiting.put(path)

    def client(_: int) -> list[float]:
        http, taken = HTTPConnection(place.hostname, place.port, timeout=600), []
        while True:
            try:
                path = waiting.get_nowait()
            except queue.Empty:
                return taken
            began = time.perf_counter()
            http.request("GET", path)
            answer = http.getresponse()
            content = answer.read()
            taken.append(time.perf_counter() - began)
            assert answer.status == 200, content

    with ThreadPoolExecutor(clients) as pool:
        return [seconds for taken in pool.map(client, range(clients)) for seconds in taken]


def chunks_computed(address: str) -> float:
    """Live chunks that the service has computed."""
    lines = httpx.get(f"{address}/metrics", trust_env=False).text.splitlines()
    found = [line for line in lines if line.startswith('geosr_live_chunks_total{how="computed"}')]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def measure_tiles(address: str, scene: dict[str, Any], count: int, bare_s: float) -> list[dict[str, Any]]:
    """Uncached and cached, by number of clients."""
    paths, rows = tiles_of(scene), []
    # The first tile waits for the network to be compiled: that is once in a service's life.
    fetch_all(address, [paths.pop()], 1)
    for clients in CLIENTS:
        some, paths = paths[:count], paths[count:]
        before, began = chunks_computed(address), time.perf_counter()
        fresh = fetch_all(address, some, clients)
        seconds, chunks = time.perf_counter() - began, chunks_computed(address) - before
        again = fetch_all(address, some * 5, clients)
        rows.append(
            {
                "clients": clients,
                "tiles": len(some),
                "chunks": round(chunks),
                "uncached_ms": _summary(fresh),
                "cached_ms": _summary(again),
                "times_the_bare_network": round(seconds / (chunks * bare_s), 2),
            }
        )
    return rows


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median": round(1000 * statistics.median(ordered), 1), "p95": round(1000 * last, 1)}


async def load(address: str, scene: dict[str, Any], clients: int, seconds: float) -> dict[str, Any]:
    """So many clients that look at tiles, ask for jobs, and order some."""
    statuses: Counter[str] = Counter()
    made: list[str] = []
    wrong: list[str] = []
    paths = tiles_of(scene)
    west, south, _, _ = scene["bbox"]
    end = time.monotonic() + seconds

    async def client(http: httpx.AsyncClient, number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < end:
            chosen = rng.random()
            if chosen < _TILES:
                what, answer = "tile", await http.get(rng.choice(paths[:40]))
            elif chosen < _TILES + _STATUSES:
                what, answer = "status", await http.get(f"/jobs/{rng.choice(made)}" if made else "/jobs")
            else:
                left, low = west + rng.random() / 200, south + rng.random() / 200
                request = {"inputs": {"scene": scene["id"], "bbox": [left, low, left + 0.001, low + 0.001]}}
                headers = {"Prefer": "respond-async"}
                what, answer = "order", await http.post("/processes/upscale/execution", json=request, headers=headers)
                if answer.status_code == 201:
                    made.append(answer.json()["jobID"])
            statuses[f"{what} {answer.status_code}"] += 1
            if answer.status_code >= 500 and not (answer.status_code == 503 and "retry-after" in answer.headers):
                wrong.append(f"{what} {answer.status_code}")
            if answer.status_code in (429, 503):
                await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=600, trust_env=False, limits=limits) as http:
        await asyncio.gather(*(client(http, number) for number in range(clients)))
        known = (await http.get("/jobs?limit=1000")).json()["jobs"]
    ids = [job["jobID"] for job in known]
    return {
        "clients": clients,
        "seconds": seconds,
        "answers": dict(sorted(statuses.items())),
        "jobs": len(made),
        "jobs_lost": len(set(made) - set(ids)),
        "jobs_twice": len(made) - len(set(made)) + len(ids) - len(set(ids)),
        "jobs_of_nobody": len(set(ids) - set(made)),
        "wrong": wrong,
    }


def main() -> None:
    """Measure all."""
    parser = arguments_of(__doc__)
    parser.add_argument("--tiles", type=int, default=40, help="tiles of a round")
    parser.add_argument("--seconds", type=float, default=60, help="of the many clients")
    arguments = parser.parse_args()
    count, seconds, clients = (2, 1, 10) if arguments.smoke else (arguments.tiles, arguments.seconds, 100)
    # A network would take seconds to compile.
    model = "bicubic" if arguments.smoke else DEFAULT_MODEL
    # What else the machine does spoils times, less so their ratios.
    busy = os.getloadavg()[0]
    core = ServiceSettings.model_fields["live_core_px"].default
    window = core + 2 * read_card(DEFAULT_MODEL).halo_px
    bare = subprocess.run(
        [sys.executable, HERE / "bare.py", str(window), "1" if arguments.smoke else "15"],
        check=True,
        capture_output=True,
        text=True,
    )
    bare_s = json.loads(bare.stdout)["s_per_mpx"] * window**2 / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "scene.tif", 512 if arguments.smoke else _SIDE_PX)
        # All clients have one address here.
        limits = {"max_queued_jobs": 10**6, "orders_per_hour": 10**6, "connections_per_address": 0}
        with served(folder, model=model, **limits) as (process, address):
            content = (folder / "scene.tif").read_bytes()
            scene = httpx.post(f"{address}/scenes/upload", content=content, timeout=600, trust_env=False).json()
            rows = measure_tiles(address, scene, count, bare_s)
            routes = measure_routes(address, scene, *((4, 8) if arguments.smoke else (50, 500)), fetch_all)
            peak, loaded = _watched(process, lambda: asyncio.run(load(address, scene, clients, seconds)))
            result = {
                "load_average": round(busy, 1),
                "model": model,
                "engine": json.loads(bare.stdout)["engine"],
                "core_px": core,
                "bare_ms_per_chunk": round(1000 * bare_s, 1),
                "tiles": rows,
                "routes": routes,
                "load": {**loaded, "peak_mib": round(peak)},
            }
        # Another one, with the limits that it has by default.
        with served(folder / "calm", model=model, demo=True) as (_, address):
            result["first_map"] = measure_first_map(address, 0 if arguments.smoke else 3)
            demo = httpx.get(f"{address}/scenes/demo", trust_env=False).json()
            paths = [f"{path}?layer=original" for path in tiles_of(demo)][:4] * (1 if arguments.smoke else 10)
            result["attack"] = measure_attack(address, paths, 0.3 if arguments.smoke else 60, fetch_all)
    keep("service", command_of(parser, arguments), result, arguments.results)


def _watched(process: psutil.Process, work: Any) -> tuple[float, Any]:
    """Do some work; returns the peak memory of a process and its children meanwhile, MiB, and the work's result."""
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.2):
            try:
                family = [process, *process.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in family) / 2**20)
            except psutil.NoSuchProcess:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        done = work()
    finally:
        ended.set()
        thread.join()
    return peak, done


if __name__ == "__main__":
    main()
