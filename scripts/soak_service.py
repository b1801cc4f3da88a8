"""Service load of ``scripts/soak.py``: clients that ask for tiles, jobs and nonsense, and too much of it in between.

The service is killed twice with a job that runs, and started again; its address is another one then.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from scripts.outcomes import Outcome
from scripts.service_clients import Tally, all_jobs, ask, order
from tests.service.conftest import Service, served

#: Clients at the same time, and limits. There are connections for all: clients that hold theirs would keep the others
#: out at any load. Requests may come about twice as fast as usual, which the overload exceeds in a few seconds.
_CLIENTS = 12
_LIMITS = {
    "max_queued_jobs": 6,
    "requests_per_minute": 480,
    "live_waiting": 8,
    "connections_per_address": 16,
    "orders_per_hour": 10_000,
}

#: Longest pause of a client between two requests, usually and during the overload, seconds.
_PAUSE_S, _OVERLOAD_PAUSE_S = 5.0, 0.25

#: Shares of the time at which the service is killed, and from which to which it is overloaded.
_KILLS, _OVERLOAD = (0.1, 0.25), (0.4, 0.6)

#: Seconds after the overload in which more may be refused than before it, and how much of all requests is more.
_RECOVERY_S, _MORE_REFUSED = 60, 0.05

#: Growth of the service's memory that is no leak, bytes.
_GROWTH_BYTES = 200 * 2**20

#: Part of the sample whose job runs when the service is killed, degrees; its chunks are small, so that it takes long.
_BOX = [0.0005, -0.0265, 0.0265, -0.0005]
_CORE_PX = 32


@dataclass
class _Load:
    """A service under load, and what was seen of it."""

    folder: Path
    seconds: int
    stack: ExitStack
    begun: float = field(default_factory=time.monotonic)
    memory: list[int] = field(default_factory=list)
    """Bytes of the process since its last start, one about every minute."""
    interrupted: list[str] = field(default_factory=list)
    """Jobs that ran when the service was killed."""

    def __post_init__(self) -> None:
        self.service = self.start()
        self.tally = Tally(self.service.address)

    def start(self) -> Service:
        """Start the service on what an earlier process of it has left."""
        settings = {"core_px": _CORE_PX, **_LIMITS}
        return self.stack.enter_context(served(self.folder, "--demo", **settings))

    @property
    def share(self) -> float:
        """Share of the time that has passed."""
        return (time.monotonic() - self.begun) / self.seconds

    def client(self, number: int, seed: int) -> None:
        """Ask until the time is over."""
        chance = random.Random(f"service {seed} {number}")
        while self.share < 1:
            address = self.tally.address
            with httpx.Client(base_url=address, timeout=300, trust_env=False) as http:
                while self.share < 1 and self.tally.address == address:
                    ask(self.tally, http, chance)
                    overloaded = _OVERLOAD[0] <= self.share < _OVERLOAD[1]
                    time.sleep(chance.uniform(0, _OVERLOAD_PAUSE_S if overloaded else _PAUSE_S))

    def kill(self, number: int) -> None:
        """Kill the service while a job runs, and start it again."""
        # Another box each time: the same one would be answered from before.
        box = [_BOX[0] + 0.001 * number, *_BOX[1:]]
        while (answer := order(self.service.http, box)).status_code != 201:
            time.sleep(0.5)
        job = str(answer.json()["jobID"])
        with self.tally.lock:
            self.tally.promised[job] = box
        # Looked for in its folder: to ask the service as often would use up what all clients here may ask. Of a job
        # that was faster the product is there.
        folder = self.folder / "jobs" / job
        while not (any(folder.rglob("r*c*.tif")) or (folder / "product.tif").exists()):
            time.sleep(0.02)
        self.service.kill()
        self.interrupted.append(job)
        self.service = self.start()
        self.tally.address = self.service.address
        self.memory.clear()

    def watch(self) -> None:
        """Kill the service when it is time, and look at its memory, until the time is over."""
        kills = list(enumerate(_KILLS))
        looked = 0.0
        while self.share < 1:
            if kills and self.share >= kills[0][1]:
                self.kill(kills.pop(0)[0])
            elif time.monotonic() - looked >= min(60, self.seconds / 60):
                looked = time.monotonic()
                self.memory.append(_memory(self.service))
            time.sleep(0.2)


def service(folder: Path, seconds: int, seed: int) -> Iterator[Outcome]:
    """Load of 12 clients, an overload in the middle, and two kills; then jobs, their bytes, and memory."""
    with ExitStack() as stack:
        load = _Load(folder / "busy", seconds, stack)
        threads = [threading.Thread(target=load.client, args=(number, seed)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        load.watch()
        for thread in threads:
            thread.join()
        tally = load.tally
        for kind, number in tally.counts.items():
            yield from (Outcome(kind) for _ in range(number))
        yield from (Outcome("fault", fault) for fault in tally.faults)
        _settle(load.service)
        load.memory.append(_memory(load.service))
        yield from _jobs(load)
        yield from (_same_bytes(load.service, job, tally.promised[job]) for job in load.interrupted)
        before = load.memory[min(len(load.memory) - 1, max(1, len(load.memory) // 10))]
        growth = load.memory[-1] - before
        recovery = _recovery_s(load)
        late = f"more was refused for {recovery} s: {dict(tally.reasons)}"
        yield Outcome("recovery", "" if recovery <= _RECOVERY_S else late)
        yield Outcome(
            "memory after the load",
            "" if growth < _GROWTH_BYTES else f"grew by {growth >> 20} MiB",
            {
                "memory after the last start, MiB": before >> 20,
                "most memory, MiB": max(load.memory) >> 20,
                "memory after the load, MiB": load.memory[-1] >> 20,
                **_shares(load),
                "seconds after the overload until no more is refused than before": recovery,
                "answers 5xx but for 503": tally.server_errors,
            },
        )


def _jobs(load: _Load) -> Iterator[Outcome]:
    """Jobs that were promised, which are all there once, and successful."""
    found, tally = all_jobs(load.service.http), load.tally
    for job in tally.promised:
        status = found.get(job, {}).get("status", "lost")
        yield Outcome("promised job", "" if status == "successful" else f"{job} is {status}: {found.get(job)}")
    more = len(found.keys() - tally.promised.keys())
    fault = f"{more} jobs more than were ordered" if more > tally.unanswered_orders else ""
    yield Outcome("number of jobs", fault, {"jobs": len(found), "of orders whose answers were lost": more})


def _same_bytes(running: Service, job: str, box: list[float]) -> Outcome:
    """Compare a job that was killed with the same job made anew."""
    first = _digest(running, job)
    running.http.delete(f"/jobs/{job}").raise_for_status()
    again = str(order(running.http, box).raise_for_status().json()["jobID"])
    status = running.wait(again, seconds=900)
    same = status["status"] == "successful" and again != job and _digest(running, again) == first
    return Outcome("product of a job that was killed", "" if same else f"{job}: other bytes, {status}")


def _digest(running: Service, job: str) -> str:
    return hashlib.sha256((running.data / "jobs" / job / "product.tif").read_bytes()).hexdigest()


def _shares(load: _Load) -> dict[str, float]:
    """Shares of requests that were refused, percent; a short trial has no minute after the overload."""
    moments = [load.begun + share * load.seconds for share in (_KILLS[1], *_OVERLOAD, 1)]
    moments[-2:-1] = [moments[-2], moments[-2] + _RECOVERY_S]
    spans = {"before the overload": (0, 1), "in it": (1, 2), "a minute after it": (3, 4)}
    return {
        f"refused {name}, %": round(100 * load.tally.share_refused(moments[first], moments[last]), 1)
        for name, (first, last) in spans.items()
        if moments[first] < moments[last]
    }


def _recovery_s(load: _Load) -> int:
    """Seconds from the end of the overload until no more is refused than before it, in the half minute after."""
    begin, end = (load.begun + share * load.seconds for share in (_KILLS[1], _OVERLOAD[1]))
    usual = load.tally.share_refused(begin, load.begun + _OVERLOAD[0] * load.seconds)
    for second in range(int(load.begun + load.seconds - end)):
        if load.tally.share_refused(end + second, end + second + 30) <= usual + _MORE_REFUSED:
            return second
    return int(load.begun + load.seconds - end)


def _settle(running: Service) -> None:
    """Wait until the service has no unfinished job, and takes requests again."""
    while True:
        answer = running.http.get("/jobs", params={"status": "accepted,running"})
        if answer.status_code == 200 and not answer.json()["jobs"]:
            return
        time.sleep(1)


def _memory(running: Service) -> int:
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * 4096
