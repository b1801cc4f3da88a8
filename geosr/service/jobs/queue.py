"""The queue of jobs: in the database, each run in a process of its own, which goes on after a restart."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

from geosr.service import metrics
from geosr.service.database import Database
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.process import end_process, event_of, job_spec_of, passes, start_process
from geosr.service.jobs.record import ACCEPTED, DISMISSED, FAILED, RUNNING, STATUSES, SUCCESSFUL, Job, job_of
from geosr.service.problems import NO_SUCH_JOB, Problem, too_many
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Caller
from geosr.service.security.egress_proxy import Egress
from geosr.service.settings import ServiceSettings

_log = logging.getLogger(__name__)

_PRIORITIES = {"rapid": 1, "normal": 0}

#: Seconds between looks at what waits; a new job does not wait for the next.
_LOOK_S = 1.0

#: Seconds between looks for what has expired.
_EXPIRE_S = 300.0

#: Times that a job whose process died is tried again, without having failed.
_RETRIES = 1


class Jobs:
    """Takes jobs, runs them, tells of them."""

    def __init__(self, database: Database, settings: ServiceSettings, scenes: Scenes, egress: Egress) -> None:
        self._database = database
        self._settings = settings
        self._scenes = scenes
        self._egress = egress
        self._folder = (settings.data / "jobs").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Condition()
        self._ended = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._attempts: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Go on with what an earlier process of the service has left."""
        self._database.change(
            "UPDATE jobs SET status = ?, message = ? WHERE status = ?", (ACCEPTED, "goes on after a restart", RUNNING)
        )
        known = {
            row["folder"] for row in self._database.rows("SELECT folder FROM jobs WHERE status != ?", (DISMISSED,))
        }
        for folder in self._folder.iterdir():
            if str(folder) not in known:
                shutil.rmtree(folder, ignore_errors=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the queue is looked after."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the jobs' processes; the jobs themselves go on with the next start."""
        with self._changed:
            self._ended = True
            processes = list(self._processes.values())
            self._changed.notify_all()
        for process in processes:
            self._end(process)
        self._thread.join()

    def submit(self, inputs: UpscaleInputs, caller: Caller) -> Job:
        """Take a job. Raises :class:`Problem`, or :class:`catalog.CatalogError` for sources that cannot be used."""
        job_id, now = secrets.token_hex(12), time.time()
        # Before anything else: what was made of someone else's scene is theirs as well.
        source = self._source_of(inputs, caller)
        earlier = self._finished_earlier(inputs) if inputs.repeatable else None
        if earlier is not None:
            self._insert(job_id, caller, inputs, earlier.folder, SUCCESSFUL, earlier.chunks, now)
            return self.get(job_id, caller)
        folder = self._folder / job_id
        folder.mkdir()
        try:
            job_spec_of(inputs, source, folder, self._settings).write(folder)
            with self._database.transaction():
                # It may have been removed meanwhile; from here on it cannot be.
                self._source_of(inputs, caller)
                self._check_room(caller)
                self._insert(job_id, caller, inputs, folder, ACCEPTED, 0, now)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._notify()
        return self.get(job_id, caller)

    def get(self, job_id: str, caller: Caller) -> Job:
        """A job of a caller's. Raises :class:`Problem` where there is none."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ? AND key_id IS ?", (job_id, caller.key_id))
        if row is None:
            raise Problem(404, "there is no such job", kind=NO_SUCH_JOB)
        return job_of(row)

    def list(self, caller: Caller, statuses: tuple[str, ...], limit: int, offset: int) -> tuple[list[Job], int]:
        """Some of a caller's jobs, the latest first, and the number of all that match."""
        wanted = statuses or STATUSES
        where = f"key_id IS ? AND status IN ({', '.join('?' * len(wanted))})"
        values = (caller.key_id, *wanted)
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE {where} ORDER BY created DESC, id LIMIT ? OFFSET ?", (*values, limit, offset)
        )
        counted = self._database.row(f"SELECT count(*) AS n FROM jobs WHERE {where}", values)
        assert counted is not None
        return [job_of(row) for row in rows], int(counted["n"])

    def dismiss(self, job_id: str, caller: Caller) -> Job:
        """Stop a job, and remove what it has made. Raises :class:`Problem`."""
        job = self.get(job_id, caller)
        now = time.time()
        self._database.change(
            "UPDATE jobs SET status = ?, message = ?, finished = coalesce(finished, ?), updated = ?, "
            "seconds_left = NULL WHERE id = ?",
            (DISMISSED, "dismissed", now, now, job_id),
        )
        with self._changed:
            process = self._processes.get(job_id)
        if process is not None:
            self._end(process)
        self._remove_folder(job.folder)
        self._notify()
        return self.get(job_id, caller)

    def wait(self, job_id: str, caller: Caller, timeout_s: float) -> Job:
        """The job when it is over, or after some time."""
        deadline = time.monotonic() + timeout_s
        while not (job := self.get(job_id, caller)).over and (left := deadline - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait(min(left, _LOOK_S))
        return job

    def counts(self) -> dict[str, int]:
        """Jobs by status."""
        rows = self._database.rows("SELECT status, count(*) AS n FROM jobs GROUP BY status")
        return {**dict.fromkeys(STATUSES, 0), **{row["status"]: row["n"] for row in rows}}

    def _insert(
        self, job_id: str, caller: Caller, inputs: UpscaleInputs, folder: Path, status: str, chunks: int, now: float
    ) -> None:
        over = now if status == SUCCESSFUL else None
        message = "answered from an earlier job with the same inputs" if over is not None else "waits for its turn"
        values = {
            "id": job_id,
            "key_id": caller.key_id,
            "status": status,
            "inputs": json.dumps(inputs.model_dump(mode="json", exclude_defaults=True)),
            "digest": inputs.digest(),
            "folder": str(folder),
            "priority": _PRIORITIES[inputs.priority],
            "message": message,
            "finished_chunks": chunks,
            "chunks": chunks,
            "created": now,
            "started": over,
            "finished": over,
            "updated": now,
        }
        names = ", ".join(values)
        self._database.change(
            f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * len(values))})", (*values.values(),)
        )

    def _finished_earlier(self, inputs: UpscaleInputs) -> Job | None:
        row = self._database.row(
            "SELECT * FROM jobs WHERE digest = ? AND status = ? ORDER BY finished DESC", (inputs.digest(), SUCCESSFUL)
        )
        job = None if row is None else job_of(row)
        return job if job is not None and "product" in job.files() else None

    def _source_of(self, inputs: UpscaleInputs, caller: Caller) -> str | None:
        return None if inputs.scene is None else self._scenes.source_of(inputs.scene, caller)

    def _check_room(self, caller: Caller) -> None:
        waiting = self._database.row(
            "SELECT count(*) AS n FROM jobs WHERE key_id IS ? AND status IN (?, ?)", (caller.key_id, ACCEPTED, RUNNING)
        )
        assert waiting is not None
        if waiting["n"] >= self._settings.max_queued_jobs:
            raise too_many(f"{waiting['n']} jobs are unfinished already: wait for one, or dismiss it", 30)

    def _end(self, process: subprocess.Popen[str]) -> None:
        end_process(process, take_back=self._settings.scheduler is not None)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for status, count in self.counts().items():
            metrics.JOBS.labels(status).set(count)

    def _run(self) -> None:
        looked = 0.0
        while not self._ended:
            # Whatever goes wrong: without this thread no job would ever run again.
            try:
                if time.monotonic() - looked > _EXPIRE_S:
                    looked = time.monotonic()
                    self._expire()
                self._take_up()
                while len(self._processes) < self._settings.jobs_at_a_time and not self._ended and self._begin_next():
                    pass
            except Exception:
                _log.exception("the queue of jobs met an error, and goes on")
            with self._changed:
                if not self._ended:
                    self._changed.wait(_LOOK_S)

    def _take_up(self) -> None:
        """Let jobs wait again that run by the database alone: what became of them could not be taken down."""
        with self._changed:
            marks = ", ".join("?" * len(self._processes))
            self._database.change(
                f"UPDATE jobs SET status = ?, message = ? WHERE status = ? AND id NOT IN ({marks})",
                (ACCEPTED, "goes on after an error", RUNNING, *self._processes),
            )

    def _begin_next(self) -> bool:
        """Start the process of the job whose turn it is; whether there may be another to start."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE status = ? ORDER BY priority DESC, created LIMIT 1", (ACCEPTED,)
        )
        if row is None:
            return False
        job, now = job_of(row), time.time()
        with self._changed:
            taken = self._database.change(
                "UPDATE jobs SET status = ?, message = ?, started = coalesce(started, ?), updated = ? "
                "WHERE id = ? AND status = ?",
                (RUNNING, "starts", now, now, job.id, ACCEPTED),
            )
            if not taken:
                return True
            try:
                process = start_process(job.folder, self._egress.environment(dict(os.environ)))
                self._processes[job.id] = process
                threading.Thread(target=self._follow, args=(job, process), name=f"job {job.id}", daemon=True).start()
            except (OSError, RuntimeError) as error:
                return self._not_begun(job, error)
        _log.info("job starts", extra={"job": job.id})
        return True

    def _not_begun(self, job: Job, error: Exception) -> bool:
        """Take down that a job could not be started; whether there may be another that can."""
        process = self._processes.pop(job.id, None)
        if process is not None:
            self._end(process)
        _log.error("job cannot be started: %s", error, extra={"job": job.id})
        # Of an error of the system without its paths, which are nobody's business.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if passes(error):
            self._settle(job, ACCEPTED, f"cannot be started yet: {reason}")
            return False
        reason = reason if job.folder.is_dir() else "its folder is gone"
        self._settle(job, FAILED, f"could not be started: {reason}; order it again")
        self._notify()
        return True

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Take down what a job's process tells, until it ends."""
        failure: str | None = None
        try:
            failure = self._listen(job, process)
        except Exception:
            _log.exception("what a job's process tells cannot be taken down", extra={"job": job.id})
            # It would wait for ever to be heard.
            self._end(process)
        finally:
            code = process.wait()
            # At once, so that it is neither begun again before it is taken off, nor taken up as one that was lost.
            with self._changed:
                try:
                    if not self._ended:
                        self._close(job, code, failure)
                except sqlite3.Error:
                    _log.exception("the end of a job cannot be taken down: it is tried again", extra={"job": job.id})
                finally:
                    del self._processes[job.id]
                    self._changed.notify_all()
        self._notify()

    def _listen(self, job: Job, process: subprocess.Popen[str]) -> str | None:
        """Hear a job's process out; why it failed, where it says so."""
        failure, began, first = None, time.monotonic(), 0
        assert process.stdout is not None
        for line in process.stdout:
            event = event_of(line)
            if event is None:
                _log.warning("job's process printed: %s", line.rstrip()[:200], extra={"job": job.id})
                continue
            match event["event"]:
                case "begin":
                    began, first = time.monotonic(), event["finished"]
                    self._update(job, f"upscales {event['chunks']} chunks", event["finished"], event["chunks"], None)
                case "chunk":
                    metrics.JOB_CHUNKS.inc()
                    rate = (event["finished"] - first) / max(1e-3, time.monotonic() - began)
                    left = (event["chunks"] - event["finished"]) / rate if rate else None
                    self._update(job, "upscales", event["finished"], event["chunks"], left)
                case "stage":
                    self._update(job, event["text"])
                case "note":
                    _log.info("%s", event["text"], extra={"job": job.id})
                case "failed":
                    failure = event["message"]
        return failure

    def _close(self, job: Job, code: int, failure: str | None) -> None:
        """Take down how a job's process has ended."""
        status, message = (SUCCESSFUL, "finished") if code == 0 else (FAILED, failure)
        if message is None:
            tried = self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
            status, message = (
                (ACCEPTED, "its process died: it is tried again")
                if tried <= _RETRIES
                else (FAILED, f"its process died (code {code}), most likely for want of memory")
            )
        self._settle(job, status, message)
        _log.info("job is %s: %s", status, message, extra={"job": job.id})

    def _settle(self, job: Job, status: str, message: str) -> None:
        """Take down what has become of a job that ran."""
        now = time.time()
        over = None if status == ACCEPTED else now
        # One that was dismissed meanwhile stays so.
        self._database.change(
            "UPDATE jobs SET status = ?, message = ?, finished = ?, updated = ?, seconds_left = NULL "
            "WHERE id = ? AND status = ?",
            (status, message, over, now, job.id, RUNNING),
        )

    def _update(
        self, job: Job, message: str, finished: int | None = None, chunks: int | None = None, left: float | None = None
    ) -> None:
        try:
            self._database.change(
                "UPDATE jobs SET message = ?, finished_chunks = coalesce(?, finished_chunks), "
                "chunks = coalesce(?, chunks), seconds_left = ?, updated = ? WHERE id = ? AND status = ?",
                (message, finished, chunks, left, time.time(), job.id, RUNNING),
            )
        except sqlite3.Error as error:
            # Only told of: the job itself does not depend on it.
            _log.warning("progress of a job cannot be taken down: %s", error, extra={"job": job.id})
        with self._changed:
            self._changed.notify_all()

    def _expire(self) -> None:
        """Remove what nobody has come back for."""
        before = time.time() - self._settings.keep_days * 86400
        for row in self._database.rows(
            "SELECT * FROM jobs WHERE finished < ? AND status IN (?, ?, ?)", (before, SUCCESSFUL, FAILED, DISMISSED)
        ):
            job = job_of(row)
            self._database.change("DELETE FROM jobs WHERE id = ?", (job.id,))
            self._remove_folder(job.folder)
        self._scenes.expire(before)

    def _remove_folder(self, folder: Path) -> None:
        """Remove a job's folder, unless others are answered from it."""
        others = self._database.row(
            "SELECT 1 FROM jobs WHERE folder = ? AND status NOT IN (?, ?)", (str(folder), DISMISSED, FAILED)
        )
        if others is None:
            shutil.rmtree(folder, ignore_errors=True)
