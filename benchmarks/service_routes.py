"""Routes of the service under fifty clients, under half-sent requests, and its page in a browser.

Parts of ``benchmarks/service.py``.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

#: Rounds of each route; one after the other, so that a machine that is busy for a while slows all of them.
_ROUNDS = 3

#: Address of the loopback that the attack comes from: limits are by address.
_ATTACKER = "127.0.0.2"

Fetch = Callable[[str, list[str], int], list[float]]


def measure_routes(address: str, scene: dict[str, Any], clients: int, requests: int, fetch: Fetch) -> dict[str, Any]:
    """Medians of routes under so many clients, milliseconds, and how many times that of ``/jobs`` they are."""
    west, south, east, north = scene["bbox"]
    point = f"/scenes/{scene['id']}/point?lon={(west + east) / 2}&lat={(south + north) / 2}"
    routes = {"jobs": "/jobs", "scenes": "/scenes", "point": point}
    # The chunk of the point is computed once.
    fetch(address, [point], 1)
    taken: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(_ROUNDS):
        for name, path in routes.items():
            taken[name].append(statistics.median(fetch(address, [path] * requests, clients)))
    medians = {name: 1000 * statistics.median(rounds) for name, rounds in taken.items()}
    return {
        "clients": clients,
        "median_ms": {name: round(median, 1) for name, median in medians.items()},
        "times_jobs": {name: round(medians[name] / medians["jobs"], 2) for name in ("scenes", "point")},
    }


def measure_attack(address: str, paths: list[str], seconds: float, fetch: Fetch) -> dict[str, Any]:
    """Medians of cached tiles and of ``/jobs`` with and without half-sent requests of another address."""
    routes = {"tile": paths, "jobs": ["/jobs"] * len(paths)}
    taken: dict[str, dict[str, list[float]]] = {name: {"calm": [], "attacked": []} for name in routes}
    opened = 0
    fetch(address, paths, 1)
    for _ in range(_ROUNDS):
        for name, asked in routes.items():
            taken[name]["calm"].append(statistics.median(fetch(address, asked, 4)))
        with _half_sent(address) as count:
            end = time.monotonic() + seconds / _ROUNDS
            while time.monotonic() < end:
                for name, asked in routes.items():
                    taken[name]["attacked"].append(statistics.median(fetch(address, asked, 4)))
            opened += count[0]
    medians = {name: {how: 1000 * statistics.median(all_) for how, all_ in one.items()} for name, one in taken.items()}
    return {
        "connections": opened,
        "median_ms": {name: {how: round(value, 1) for how, value in one.items()} for name, one in medians.items()},
        "times_calm": {name: round(one["attacked"] / one["calm"], 2) for name, one in medians.items()},
    }


@contextmanager
def _half_sent(address: str) -> Iterator[list[int]]:
    """Connect again and again, as often as that is let in, and send half a request's head each time.

    Yields the number of connections so far.
    """
    place, ended, count = urlsplit(address), threading.Event(), [0]

    def attack() -> None:
        held: list[socket.socket] = []
        while not ended.wait(0.005):
            try:
                one = socket.create_connection((place.hostname, place.port), 5, source_address=(_ATTACKER, 0))
                one.sendall(b"GET /jobs HTTP/1.1\r\nHost: local")
                count[0] += 1
                held.append(one)
            except OSError:
                pass
            if len(held) > 500:
                held.pop(0).close()
        for one in held:
            one.close()

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield count
    finally:
        ended.set()
        thread.join()


def measure_first_map(address: str, rounds: int) -> dict[str, Any] | None:
    """Seconds until a browser shows the original of the sample, and all of both sides; None without Chromium.

    In the first round the service has computed nothing of it.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if chromium is None or not rounds:
        return None
    found: list[dict[str, float]] = []
    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        for _ in range(rounds):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            began = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("#stage[data-scene=demo]", state="attached")
            while not page.evaluate(
                "window.geosr.maps.before.getSource('layer-0') && window.geosr.maps.before.loaded()"
            ):
                page.wait_for_timeout(50)
            usable = time.perf_counter() - began
            page.wait_for_selector("#stage[aria-busy=false]", timeout=300_000)
            found.append({"usable_s": round(usable, 2), "sharpened_s": round(time.perf_counter() - began, 2)})
            page.context.close()
        browser.close()
    return {"first": found[0], "again": found[1:]}
