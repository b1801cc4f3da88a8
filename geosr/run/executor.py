"""Executors of a run's chunks: threads of this process, or processes of a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from geosr.run.chunk import ChunkJob, FinishedChunk, read_part, upscale_part, write_encoded
from geosr.run.stages import Stage, run_stages
from tiling import Chunk

#: Threads that read ahead, and that write: they wait for disks and networks most of the time.
_READERS = 2
_WRITERS = 2


class Executor(Protocol):
    """Computes chunks."""

    def run(self, job: ChunkJob, chunks: Sequence[Chunk]) -> Iterator[FinishedChunk]:
        """Chunks as they are finished. The first error ends the iteration."""


class ThreadExecutor:
    """Reads, computes and writes at the same time, in threads of this process."""

    def run(self, job: ChunkJob, chunks: Sequence[Chunk]) -> Iterator[FinishedChunk]:
        return run_stages(
            [
                Stage(partial(read_part, job), _READERS, "read"),
                Stage(partial(upscale_part, job), job.parallel.concurrent_chunks, "upscale"),
                Stage(write_encoded, _WRITERS, "write"),
            ],
            chunks,
        )


@contextmanager
def open_executor(workers: int, scheduler: str | None = None) -> Iterator[Executor]:
    """Threads of this process; with ``workers`` a Dask cluster of so many on this machine; or a ``scheduler``'s.

    Raises :class:`geosr.errors.WorkerError` when the scheduler cannot be reached, or workers die at a chunk however
    often it is tried.
    """
    if workers == 0 and scheduler is None:
        yield ThreadExecutor()
        return
    from geosr.run.cluster import connected, local_cluster

    # What matters of its messages reaches the user as an error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is not None:
        with connected(scheduler) as cluster:
            yield cluster
        return
    with local_cluster(workers) as cluster:
        yield cluster
