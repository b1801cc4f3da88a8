"""Chunks computed by the workers of a Dask cluster.

What a run is goes to each worker once, the model included; tasks carry no more than their chunk. No more tasks are
handed out at a time than keep the workers busy, so that the scheduler's memory does not depend on the number of chunks.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, get_worker, wait

from catalog import Restriction, restricted, restriction_in_force
from geosr.engine import Parallel
from geosr.errors import WorkerError
from geosr.hardware import cores
from geosr.inference.upscaler import ModelSpec
from geosr.model.weights import find_rounding
from geosr.run.chunk import ChunkJob, FinishedChunk, read_part, upscale_part, write_encoded
from geosr.run.storage_options import share_settings
from tiling import Chunk, Location, OutputError

#: Chunks handed out at a time, per thread of a worker: one being computed, and one waiting.
_AHEAD = 2

#: Seconds to wait for a scheduler, and for its first worker.
_CONNECT_S = 30

#: Seconds between two counts of the workers: they come and go.
_LOOK_S = 2.0

#: Longest time without any worker, seconds. One that dies is started again within a few.
_ALONE_S = 60.0


Part = TypeVar("Part")


@dataclass(frozen=True)
class _Model:
    """The files of a model, so that workers need not have them."""

    card: str
    weights: dict[str, bytes]
    """By name of the file."""


class RunPlugin(WorkerPlugin):
    """A run on a worker: what computes its chunks."""

    def __init__(self, job: ChunkJob, model: _Model | None, restriction: Restriction | None = None) -> None:
        """``restriction`` is what the run's own process may open: its chunks open no more elsewhere."""
        self.name = f"geosr-{job.folder}"
        self._job = job
        self._model = model
        self._restriction = restriction

    def setup(self, worker: Any) -> None:
        """Keep the model's files where this worker keeps its own, and share its cores among its threads."""
        share_settings()
        self._ended = threading.Event()
        self._files: Path | None = None
        if self._model is not None:
            self._files = Path(worker.local_directory) / f"geosr-{self._job.run.model.digest}"
            self._files.mkdir(exist_ok=True)
            for name, content in self._model.weights.items():
                (self._files / name).write_bytes(content)
            (self._files / "card.json").write_text(self._model.card, encoding="utf-8")
            spec = self._job.run.model
            spec = replace(spec, model=replace(spec.model, name=str(self._files / "card.json")))
            self._job = replace(self._job, run=replace(self._job.run, model=spec))
        at_once = worker.state.nthreads
        self._job = replace(self._job, parallel=Parallel(at_once, max(1, cores() // at_once)))

    def teardown(self, worker: Any) -> None:
        """The run is over, well or not: what is still computed is not written."""
        self._ended.set()
        if self._files is not None:
            shutil.rmtree(self._files, ignore_errors=True)

    def compute(self, chunk: Chunk) -> FinishedChunk:
        """Compute a chunk; what goes wrong comes without causes, for GDAL's cannot be sent between processes."""
        try:
            _check_shared(self._job.folder)
            # Other runs on this worker may open what they may.
            with restricted(self._restriction):
                return self._compute(chunk)
        except Exception as error:
            error.__cause__ = error.__context__ = None
            raise

    def _compute(self, chunk: Chunk) -> FinishedChunk:
        encoded = upscale_part(self._job, read_part(self._job, chunk))
        if self._ended.is_set():
            return FinishedChunk(chunk.key)
        try:
            return write_encoded(encoded)
        except OutputError:
            # The folder may have gone while the chunk was computed, and then that is what is to be said.
            _check_shared(self._job.folder)
            raise

    # A worker's threads have what the plugin has: none of it is sent back.
    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_job": self._job, "_model": self._model, "_restriction": self._restriction}


def _check_shared(folder: Location) -> None:
    if isinstance(folder, Path) and not folder.is_dir():
        raise WorkerError(
            f"the workers do not see {folder}: put the output on a file system that all of them share, or in storage"
        )


def _compute(name: str, chunk: Chunk) -> FinishedChunk:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, RunPlugin)
    return plugin.compute(chunk)


class ClusterExecutor:
    """Computes chunks on the workers of a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, job: ChunkJob, chunks: Sequence[Chunk]) -> Iterator[FinishedChunk]:
        plugin = RunPlugin(job, _files_of(job.run.model), restriction_in_force())
        self._client.register_plugin(plugin)
        try:
            yield from submit_bounded(
                self._client, chunks, lambda chunk: (_compute, plugin.name, chunk), ahead=_AHEAD, each="chunk"
            )
        finally:
            # Where the scheduler is gone, so is the plugin.
            with suppress(Exception):
                self._client.unregister_worker_plugin(plugin.name)


def submit_bounded(
    client: Client, parts: Iterable[Part], call: Callable[[Part], tuple[Any, ...]], *, ahead: int, each: str
) -> Iterator[Any]:
    """Stream results of the parts of a job, as they finish; no more than ``ahead`` per thread wait.

    ``call`` gives a part's function and arguments, whose result is never None; ``each`` is what a part is called. The
    first error ends it, and what was handed out is cancelled. Raises :class:`WorkerError` where workers die again and
    again, or are gone.
    """
    limit = _SubmissionLimit(client, ahead)
    remaining = iter(parts)
    running: set[Future] = set()
    try:
        while True:
            while len(running) < limit.now() and (part := next(remaining, None)) is not None:
                running.add(client.submit(*call(part), pure=False))
            if not running:
                return
            waiting = list(running)
            for future in _watched(client, partial(_first_done, waiting)):
                running.discard(future)
                # A worker that dies takes finished parts with it, which are then made anew.
                yield _watched(client, partial(_result, future))
    except KilledWorker as error:
        raise WorkerError(
            f"worker processes died again and again at the same {each}, most likely for want of memory: "
            "the same command with fewer --workers goes on with what is finished"
        ) from error
    finally:
        with suppress(Exception):
            client.cancel(list(running))


def _first_done(futures: list[Future], seconds: float) -> set[Future] | None:
    try:
        return set(wait(futures, timeout=seconds, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return None


def _result(future: Future, seconds: float) -> Any:
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        # A part that failed is asked again: the error is its own, and it is there at once.
        return future.result() if future.status == "error" else None


def _watched(client: Client, look: Callable[[float], Any]) -> Any:
    """Wait for a result of workers; ``look`` waits for as many seconds as it is given, and returns None in vain.

    Raises :class:`WorkerError` where the workers are gone and do not come back.
    """
    alone: float | None = None
    while (found := look(_LOOK_S)) is None:
        now = time.monotonic()
        alone = None if client.nthreads() else (alone or now)
        if alone is not None and now - alone > _ALONE_S:
            raise WorkerError(
                f"worker processes died, and none came back in {_ALONE_S:g} s: the same command, with other --workers "
                "or another --scheduler, goes on with what is finished"
            )
    return found


class _SubmissionLimit:
    """Limit on the parts that are submitted at a time."""

    def __init__(self, client: Client, ahead: int) -> None:
        self._client, self._ahead = client, ahead
        self._limit, self._looked = 0, 0.0

    def now(self) -> int:
        if time.monotonic() - self._looked > _LOOK_S:
            self._limit = self._ahead * max(1, sum(self._client.nthreads().values()))
            self._looked = time.monotonic()
        return self._limit


@contextmanager
def local_cluster(workers: int) -> Iterator[ClusterExecutor]:
    """An executor on workers of this machine, see :func:`local_client`."""
    with local_client(workers) as client:
        yield ClusterExecutor(client)


@contextmanager
def connected(scheduler: str) -> Iterator[ClusterExecutor]:
    """An executor on the workers of a scheduler, see :func:`connected_client`."""
    with connected_client(scheduler) as client:
        yield ClusterExecutor(client)


@contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """Single-threaded workers on this machine, for as long as they are needed."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            # An interrupt is for this process, which ends its workers itself.
            preload=["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def connected_client(scheduler: str) -> Iterator[Client]:
    """The workers of a scheduler that runs already.

    Raises :class:`WorkerError` when it does not answer, or has no workers.
    """
    try:
        client = Client(scheduler, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise WorkerError(f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError as error:
            raise WorkerError(f"the scheduler at {scheduler} has no workers: start some with `geosr worker`") from error
        yield client


def run_worker(scheduler: str, threads: int | None) -> None:
    """Work for a scheduler until it ends: one chunk at a time, on ``threads`` cores, all by default.

    A process that dies is started again. Raises :class:`WorkerError` when no scheduler answers.
    """
    from distributed.cli.dask_worker import main

    # Dask lets its processes use one core, but where this says otherwise.
    os.environ["OMP_NUM_THREADS"] = str(threads or cores())
    arguments = [scheduler, "--nthreads", "1", "--no-dashboard", "--death-timeout", str(_CONNECT_S)]
    # What a run needs is loaded before one comes.
    arguments += ["--preload", __name__]
    main.main(args=arguments, prog_name="geosr worker", standalone_mode=False)


def _files_of(model: ModelSpec) -> _Model | None:
    """The files of a model that is not one of those shipped, which every worker has."""
    if model.model.shipped:
        return None
    card = model.card
    names = [card.weights, card.visual.weights if card.visual is not None and card.sharpness else None]
    if card.bfloat16 is not None and not card.sharpness and model.engine.precision == "bfloat16":
        names.append(find_rounding(card).name)
    return _Model(
        Path(model.model.name).read_text(encoding="utf-8"),
        {name: (card.folder / name).read_bytes() for name in names if name is not None},
    )
