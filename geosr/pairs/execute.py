"""Units computed on Dask: by threads of this process, by processes of this machine, or by a scheduler's workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask.base import compute
from dask.delayed import delayed

from geosr.engine.system import cores
from geosr.errors import WorkerError
from geosr.pairs.units import Unit

if TYPE_CHECKING:
    from distributed import Client

#: Units handed out at a time, per thread: one being computed, and others waiting.
_AHEAD = 4

Work = Callable[[Unit], str]


def run_units(work: Work, units: Sequence[Unit], workers: int, scheduler: str | None) -> Iterator[str]:
    """Do the work on every unit; yields keys as they are finished. The first error ends the iteration.

    Raises :class:`WorkerError` when workers cannot be reached or die again and again.
    """
    if not units:
        return
    if workers == 0 and scheduler is None:
        yield from _in_threads(work, units)
        return
    from geosr.jobs.cluster import connected_client, local_client

    # What matters of its messages reaches the user as an error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with connected_client(scheduler) if scheduler is not None else local_client(workers) as client:
        yield from _on_cluster(client, work, units)


def _in_threads(work: Work, units: Sequence[Unit]) -> Iterator[str]:
    threads = cores()
    step = _AHEAD * threads
    for first in range(0, len(units), step):
        tasks = [delayed(work)(unit, dask_key_name=unit.block.key) for unit in units[first : first + step]]
        yield from compute(*tasks, scheduler="threads", num_workers=threads)


def _on_cluster(client: Client, work: Work, units: Sequence[Unit]) -> Iterator[str]:
    from distributed import KilledWorker, as_completed

    remaining = iter(units)
    running: set[Any] = set()
    done = as_completed()
    try:
        while True:
            threads = sum(client.nthreads().values())
            while len(running) < max(1, _AHEAD * threads) and (unit := next(remaining, None)) is not None:
                future = client.submit(_without_causes, work, unit, pure=False)
                running.add(future)
                done.add(future)
            if not running:
                return
            future = next(done)
            running.discard(future)
            yield future.result()
    except KilledWorker as error:
        raise WorkerError(
            "worker processes died again and again at the same patch, most likely for want of memory: "
            "the same command with fewer --workers goes on with what is finished"
        ) from error
    finally:
        with suppress(Exception):
            client.cancel(list(running))


def _without_causes(work: Work, unit: Unit) -> str:
    """What goes wrong comes without causes, for GDAL's cannot travel between processes."""
    if not unit.folder.is_dir():
        raise WorkerError(f"the workers do not see {unit.folder}: put the set on a file system that all share")
    try:
        return work(unit)
    except Exception as error:
        error.__cause__ = error.__context__ = None
        raise
