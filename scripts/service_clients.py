"""Clients of the service's load: what they ask for, and the jobs that they were promised."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from scripts.mutations import mutate_bytes
from tests.conftest import SAMPLE

#: What a service may answer: what was asked for, no, or later.
_GOOD = frozenset((200, 201, 204, 304, 307, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 503))

#: Refusals of what is too much.
_LATER = (429, 503)

_KINDS = {"tile": 60, "point": 10, "job": 8, "upload": 2, "nonsense": 10, "list": 10}


@dataclass
class Tally:
    """Everything that the clients were answered, shared by their threads."""

    address: str
    """Address of the service, which is another one after each start."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    """Answers by kind and status."""
    faults: list[str] = field(default_factory=list)
    promised: dict[str, list[float]] = field(default_factory=dict)
    """Box of each job that the service has accepted, by the job's id."""
    unanswered_orders: int = 0
    """Orders of jobs whose answers were lost with a connection."""
    asked: Counter[int] = field(default_factory=Counter)
    """Requests by the second in which they were answered; orders apart, which wait for the queue."""
    refused: Counter[int] = field(default_factory=Counter)
    """Those among them that were refused as too many."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why, in the service's words."""

    def note(self, kind: str, fault: str = "") -> None:
        """Count an answer."""
        with self.lock:
            self.counts[kind] += 1
            if fault:
                self.faults.append(f"{kind}: {fault}")

    def share_refused(self, begin: float, end: float) -> float:
        """Share of the requests between two moments that were refused; 0 without any."""
        asked = sum(count for second, count in self.asked.items() if begin <= second < end)
        return sum(count for second, count in self.refused.items() if begin <= second < end) / max(1, asked)

    @property
    def server_errors(self) -> int:
        """Number of answers 500 to 599, but for 503, by which the service refuses what is too much."""
        return sum(
            count
            for kind, count in self.counts.items()
            if kind.rpartition(", ")[2].startswith("5") and not kind.endswith("503")
        )


def ask(tally: Tally, http: httpx.Client, chance: random.Random) -> None:
    """Make one request of a kind that chance decides."""
    kind = chance.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    try:
        answer = _order(tally, http, chance) if kind == "job" else _request(kind, http, chance)
    except httpx.TransportError:
        # Connections beyond what an address may have are closed, and so are all when the service is killed.
        with tally.lock:
            tally.unanswered_orders += kind == "job"
        tally.note(f"{kind}, no connection")
        time.sleep(0.5)
        return
    good = answer.status_code in _GOOD
    tally.note(f"{kind}, {answer.status_code}", "" if good else f"{answer.request.url}: {answer.text[:200]}")
    refused, second = answer.status_code in _LATER, int(time.monotonic())
    if kind != "job":
        with tally.lock:
            tally.asked[second] += 1
            tally.refused[second] += refused
            if refused:
                tally.reasons[re.sub(r"\d+", "…", answer.text)[:80]] += 1
    if refused:
        time.sleep(0.2)


def order(http: httpx.Client, box: list[float]) -> httpx.Response:
    """Order a job of a part of the sample."""
    content = {"inputs": {"scene": "demo", "bbox": box}}
    return http.post("/processes/upscale/execution", json=content, headers={"Prefer": "respond-async"})


def _order(tally: Tally, http: httpx.Client, chance: random.Random) -> httpx.Response:
    """Order a job, which one in four times was ordered before and has to be that one."""
    with tally.lock:
        earlier = chance.choice(list(tally.promised.items())) if tally.promised and chance.random() < 0.25 else None
    west, south, side = chance.uniform(0, 0.014), -chance.uniform(0.013, 0.026), chance.uniform(0.003, 0.012)
    box = [west, south, west + side, south + side] if earlier is None else earlier[1]
    answer = order(http, box)
    if answer.status_code == 201:
        job = str(answer.json()["jobID"])
        with tally.lock:
            tally.promised[job] = box
        if earlier is not None and job != earlier[0]:
            tally.note("job, doubled", f"{earlier[0]} was ordered again and became {job}")
    return answer


def _request(kind: str, http: httpx.Client, chance: random.Random) -> httpx.Response:
    if kind == "tile":
        zoom = chance.choice((14, 15, 16, 17))
        x, y = (2 ** (zoom - 1) + chance.randrange(-1, 4) for _ in range(2))
        layer = chance.choice(("sr", "original", "sr", "nowhere"))
        return http.get(f"/scenes/demo/tiles/{zoom}/{x}/{y}", params={"layer": layer})
    if kind == "point":
        return http.get("/scenes/demo/point", params={"lon": chance.uniform(0, 0.03), "lat": -chance.uniform(0, 0.03)})
    if kind == "upload":
        content = mutate_bytes(SAMPLE.read_bytes(), chance)[0]
        answer = http.post("/scenes/upload", content=content, headers={"content-type": "image/tiff"})
        if answer.status_code == 201:
            http.delete(f"/scenes/{answer.json()['id']}")
        return answer
    if kind == "nonsense":
        parts = (chance.choice(("scenes", "jobs", "..", "%00", "results", "x" * 300)) for _ in range(3))
        return http.request(
            chance.choice(("GET", "POST", "DELETE")), "/" + "/".join(parts), content=chance.randbytes(100)
        )
    return http.get(chance.choice(("/jobs", "/scenes", "/collections", "/healthz", "/readyz")))


def all_jobs(http: httpx.Client) -> dict[str, dict[str, Any]]:
    """Every job of the service, by id."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        answer = http.get("/jobs", params={"limit": 100, "offset": len(found)})
        if answer.status_code in _LATER:
            time.sleep(1)
            continue
        page = answer.json()
        found |= {job["jobID"]: job for job in page["jobs"]}
        if not page["jobs"] or len(found) >= page["numberMatched"]:
            return found
