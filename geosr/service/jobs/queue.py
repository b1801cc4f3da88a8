"""The queue of jobs: rows in the database, folders on the disk, and processes that go on after a restart."""

from __future__ import annotations

import builtins
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from geosr.service.database import Database
from geosr.service.jobs.callbacks import Callbacks
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.job_runner import Hooks, JobRunner
from geosr.service.jobs.job_store import JobOrder, JobStore
from geosr.service.jobs.orders import JobInputs
from geosr.service.jobs.process import job_spec_of
from geosr.service.jobs.record import Job
from geosr.service.jobs.spec import DateSource
from geosr.service.problems import Problem, too_many
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Caller
from geosr.service.security.egress_proxy import Egress
from geosr.service.settings import ServiceSettings


class Jobs:
    """Accepts jobs, has them run, and answers for them."""

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        scenes: Scenes,
        egress: Egress,
        callbacks: Callbacks,
        expire: Callable[[float], None],
    ) -> None:
        """``expire`` forgets what else was added before a time, and is called now and then."""
        self._database = database
        self._settings = settings
        self._scenes = scenes
        self._folder = (settings.data / "jobs").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store = JobStore(database)
        self._callbacks = callbacks
        self._expire_others = expire
        self._runner = JobRunner(self._store, settings, egress, Hooks(self._expire, callbacks.announce))

    def start(self) -> None:
        """Go on with what an earlier process of the service has left."""
        self._store.requeue("goes on after a restart")
        known = self._store.folders()
        for folder in self._folder.iterdir():
            if str(folder) not in known:
                shutil.rmtree(folder, ignore_errors=True)
        self._runner.start()

    @property
    def alive(self) -> bool:
        """True while jobs are started."""
        return self._runner.alive

    def stop(self) -> None:
        """End the jobs' processes; the jobs themselves go on with the next start."""
        self._runner.stop()
        self._callbacks.stop()

    def submit(self, order: JobOrder, caller: Caller) -> tuple[Job, bool]:
        """Accept a job; an order that a caller repeats is answered with the job that it made, and False.

        Raises :class:`Problem`, or :class:`catalog.CatalogError` for sources that cannot be used.
        """
        job_id, inputs = secrets.token_hex(12), order.inputs
        # Before anything else: what was made of someone else's scene is theirs as well.
        sources = self._sources_of(inputs, caller)
        if isinstance(inputs, UpscaleInputs) and sources:
            _check_alike(sources)
            own = {"nodata": sources[0].nodata, "sensor": sources[0].sensor}
            inputs = inputs.model_copy(update={name: one for name, one in own.items() if getattr(inputs, name) is None})
            order = replace(order, inputs=inputs)
        repeated = self._store.repeated(caller, order)
        if repeated is not None:
            return repeated, False
        # In one transaction, so that the earlier one's files are not removed in between.
        with self._database.transaction():
            earlier = self._store.finished_earlier(inputs) if inputs.repeatable else None
            if earlier is not None:
                self._store.insert_answered(job_id, caller, order, earlier)
        if earlier is not None:
            self._callbacks.announce(self.get(job_id, caller))
            return self.get(job_id, caller), True
        # Before an Item is fetched for it; and once more below, for others may have ordered meanwhile.
        self._check_room(caller)
        folder = self._folder / job_id
        folder.mkdir()
        try:
            job_spec_of(inputs, sources, folder, self._settings).write(folder)
            with self._database.transaction():
                # It may have been removed meanwhile; from here on it cannot be.
                self._sources_of(inputs, caller)
                repeated = self._store.repeated(caller, order)
                if repeated is None:
                    self._check_room(caller)
                    self._store.insert_waiting(job_id, caller, order, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if repeated is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return repeated, False
        self._runner.notify()
        return self.get(job_id, caller), True

    def shared(self, job_id: str) -> Job | None:
        """A job, whoever asks: for those who have a signed link to it."""
        return self._store.shared(job_id)

    def get(self, job_id: str, caller: Caller) -> Job:
        """A job of a caller's. Raises :class:`Problem` where there is none."""
        return self._store.get(job_id, caller)

    def list(
        self, caller: Caller, statuses: tuple[str, ...], limit: int, offset: int, processes: tuple[str, ...] = ()
    ) -> tuple[builtins.list[Job], int]:
        """Some of a caller's jobs, the latest first, and the number of all that match; of all processes by default."""
        return self._store.list(caller, statuses, limit, offset, processes)

    def rename(self, job_id: str, title: str, caller: Caller) -> Job:
        """Give a job a name. Raises :class:`Problem`."""
        self._store.rename(self.get(job_id, caller), title)
        return self.get(job_id, caller)

    def dismiss(self, job_id: str, caller: Caller) -> Job:
        """Stop a job, and remove its files. Raises :class:`Problem`."""
        job = self.get(job_id, caller)
        self._store.dismiss(job)
        self._runner.end(job_id)
        self._remove_folder(job.folder)
        self._runner.notify()
        return self.get(job_id, caller)

    def counts(self) -> dict[str, int]:
        """Jobs by status."""
        return self._store.counts()

    def _sources_of(self, inputs: JobInputs, caller: Caller) -> builtins.list[DateSource]:
        """Scenes as a job reads them. Raises :class:`Problem` where there is none, or one is someone else's."""
        rows = [self._scenes.row_of(scene, caller) for scene in inputs.scenes]
        return [DateSource(row["source"], row["title"], row["nodata"], row["sensor"]) for row in rows]

    def _check_room(self, caller: Caller) -> None:
        waiting = self._store.unfinished(caller)
        if waiting >= self._settings.max_queued_jobs:
            raise too_many(f"{waiting} jobs are unfinished already: wait for one, or dismiss it", 30)

    def _expire(self) -> None:
        """Remove jobs and scenes that nobody has come back for."""
        before = time.time() - self._settings.keep_days * 86400
        for job in self._store.remove_finished(before):
            self._remove_folder(job.folder)
        self._scenes.expire(before)
        self._expire_others(before)

    def _remove_folder(self, folder: Path) -> None:
        """Remove a job's folder, unless others are answered from it."""
        if not self._store.is_needed(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _check_alike(sources: Sequence[DateSource]) -> None:
    """Refuse dates that are not read alike, as one image's are. Raises :class:`Problem`."""
    first = sources[0]
    for one in sources[1:]:
        if (one.nodata, one.sensor) != (first.nodata, first.sensor):
            raise Problem(409, f"others: {one.title} was added with another nodata or sensor than {first.title}")
        if (Path(one.source).suffix == ".json") != (Path(first.source).suffix == ".json"):
            raise Problem(409, f"others: of {one.title} and {first.title} one is an upload and one a STAC Item")
