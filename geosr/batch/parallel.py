"""Several scenes of a batch at a time: this process drives them, the workers of one cluster compute their chunks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import catalog
from geosr.progress import QuietReporter, Reporter
from geosr.run.request import Cluster

#: Most scenes that are driven at a time: each opens its source and assembles its product in this process.
_MOST = 16

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SharedCluster:
    """Cluster for all scenes of a batch."""

    cluster: Cluster
    at_once: int
    """Scenes that are driven at a time."""


@contextmanager
def share_cluster(cluster: Cluster, scenes: int) -> Iterator[SharedCluster]:
    """Start the workers that are asked for, or connect to the scheduler, once for all scenes.

    Raises :class:`geosr.errors.WorkerError` when no scheduler answers.
    """
    if scenes < 2 or cluster == Cluster():
        yield SharedCluster(cluster, 1)
        return
    from geosr.run.cluster import connected_client, local_client

    opened = local_client(cluster.workers) if cluster.scheduler is None else connected_client(cluster.scheduler)
    with opened as client:
        workers: dict[str, int] = client.nthreads()  # type: ignore[no-untyped-call]
        assert client.scheduler is not None
        address = str(client.scheduler.address)
        yield SharedCluster(Cluster(scheduler=address), max(1, min(sum(workers.values()), scenes, _MOST)))


class _StoppedError(Exception):
    """The batch was interrupted."""


class _SceneReporter(QuietReporter):
    """Passes on the notes of one scene of several, and ends it at its next step when the batch is interrupted."""

    def __init__(self, reporter: Reporter, lock: threading.Lock, name: str, stop: threading.Event) -> None:
        self._reporter, self._lock, self._name, self._stop = reporter, lock, name, stop

    def note(self, text: str) -> None:
        with self._lock:
            self._reporter.note(f"{self._name}: {text}")

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        self._check()

    def chunk(self, key: str, finished: int, total: int) -> None:
        self._check()

    def stage(self, text: str) -> None:
        self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


def run_scenes(
    jobs: Sequence[tuple[str, Job]],
    make: Callable[[Job, Reporter], Result],
    reporter: Reporter,
    at_once: int,
    done: Callable[[Result], None],
) -> None:
    """Run jobs, each with a name for its notes, so many at a time, and hand on their results in the jobs' order.

    An interrupt, or an error of a job, ends those that are running at their next chunk, and then this.
    """
    if at_once == 1:
        for number, (name, job) in enumerate(jobs, start=1):
            reporter.note(f"scene {number} of {len(jobs)}: {name}")
            done(make(job, reporter))
        return
    lock, stop = threading.Lock(), threading.Event()
    # A wait for a server is told to one listener of the process.
    with catalog.announcing(reporter.note), ThreadPoolExecutor(at_once, thread_name_prefix="scene") as pool:
        futures = [pool.submit(make, job, _SceneReporter(reporter, lock, name, stop)) for name, job in jobs]
        try:
            for number, ((name, _), future) in enumerate(zip(jobs, futures, strict=True), start=1):
                done(future.result())
                with lock:
                    reporter.note(f"scene {number} of {len(jobs)} is through: {name}")
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
