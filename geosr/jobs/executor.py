"""Where chunks are computed: threads of this process, or processes of a Dask cluster on this machine."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from geosr.errors import WorkerError

Task = TypeVar("Task")
Done = TypeVar("Done")

#: With one chunk in the network, the other thread reads the next or writes the last.
_THREADS = 2


@contextmanager
def open_executor(workers: int) -> Iterator[Executor]:
    """Threads for ``workers=0``, a Dask ``LocalCluster`` of that many single-threaded processes otherwise.

    Raises :class:`WorkerError` when processes of the cluster die at a chunk, however often it is tried.
    """
    if workers == 0:
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="chunk")
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return
    from distributed import Client, KilledWorker, LocalCluster

    # What matters of its messages reaches the user as an error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            # An interrupt is for this process, which ends its workers itself.
            preload=["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"],
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        try:
            yield client.get_executor(pure=False)
        except KilledWorker as error:
            raise WorkerError(
                "worker processes died again and again at the same chunk, most likely for want of memory: "
                "the same command with fewer --workers goes on with what is finished"
            ) from error


def map_unordered(
    executor: Executor, compute: Callable[[Task], Done], tasks: Iterable[Task], in_flight: int
) -> Iterator[Done]:
    """Results as they come, with at most ``in_flight`` tasks handed out at a time.

    The first error ends the iteration; tasks not yet begun are cancelled.
    """
    remaining = iter(tasks)
    running: set[Future[Done]] = set()
    try:
        while True:
            while len(running) < in_flight and (task := next(remaining, None)) is not None:
                running.add(executor.submit(_alone, compute, task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in running:
            future.cancel()


def _alone(compute: Callable[[Task], Done], task: Task) -> Done:
    """Compute a task; what it raises in a worker comes without causes, for GDAL's cannot travel between processes."""
    try:
        return compute(task)
    except Exception as error:
        if multiprocessing.parent_process() is not None:
            error.__cause__ = error.__context__ = None
        raise
