"""Units computed on Dask: by threads of this process, by processes of this machine, or by a scheduler's workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from dask.base import compute
from dask.delayed import delayed

from geosr.errors import WorkerError
from geosr.hardware import cores
from geosr.pairs.block_work import Unit

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
    from geosr.run.cluster import connected_client, local_client, submit_bounded

    # What matters of its messages reaches the user as an error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with connected_client(scheduler) if scheduler is not None else local_client(workers) as client:
        yield from submit_bounded(client, units, lambda unit: (_without_causes, work, unit), ahead=_AHEAD, each="patch")


def _in_threads(work: Work, units: Sequence[Unit]) -> Iterator[str]:
    threads = cores()
    step = _AHEAD * threads
    for first in range(0, len(units), step):
        tasks = [delayed(work)(unit, dask_key_name=unit.block.key) for unit in units[first : first + step]]
        yield from compute(*tasks, scheduler="threads", num_workers=threads)


def _without_causes(work: Work, unit: Unit) -> str:
    """Run a unit; its errors come without causes, for GDAL's cannot be sent between processes."""
    if not unit.folder.is_dir():
        raise WorkerError(f"the workers do not see {unit.folder}: put the set on a file system that all share")
    try:
        return work(unit)
    except Exception as error:
        error.__cause__ = error.__context__ = None
        raise
