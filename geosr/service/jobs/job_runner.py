"""Processes of jobs: a thread that starts the next one whenever there is room, and one for each that listens to it."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from geosr.service import metrics
from geosr.service.jobs.job_store import JobStore
from geosr.service.jobs.process import end_process, event_of, passes, start_process
from geosr.service.jobs.record import ACCEPTED, FAILED, RUNNING, SUCCESSFUL, Job
from geosr.service.security.egress_proxy import Egress
from geosr.service.settings import ServiceSettings

_log = logging.getLogger(__name__)

#: Seconds between looks at what waits; a new job does not wait for the next.
_LOOK_S = 1.0

#: Seconds between calls of what is done now and then.
_TIDY_S = 300.0

#: Times that a job whose process died is tried again, without having failed.
_RETRIES = 1


@dataclass(frozen=True)
class Failure:
    """Reason why a job failed, in its process' own words."""

    message: str
    status: int | None
    """Status of HTTP that a request with the same error has."""


@dataclass(frozen=True)
class Hooks:
    """Calls that a runner makes."""

    tidy: Callable[[], None]
    """Called now and then by the thread that starts jobs."""
    changed: Callable[[Job], None]
    """Called with a job that has begun or is over."""


class JobRunner:
    """Runs waiting jobs, as many at a time as the settings say."""

    def __init__(self, store: JobStore, settings: ServiceSettings, egress: Egress, hooks: Hooks) -> None:
        self._store, self._settings, self._egress, self._hooks = store, settings, egress, hooks
        self._changed = threading.Condition()
        self._ended = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._attempts: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Start to run jobs."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while jobs are started."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End all processes and start no other."""
        with self._changed:
            self._ended = True
            processes = list(self._processes.values())
            self._changed.notify_all()
        for process in processes:
            self._end(process)
        self._thread.join()

    def end(self, job_id: str) -> None:
        """End the process of a job, if it has one."""
        with self._changed:
            process = self._processes.get(job_id)
        if process is not None:
            self._end(process)

    def notify(self) -> None:
        """Look at once at what has changed."""
        with self._changed:
            self._changed.notify_all()

    def _end(self, process: subprocess.Popen[str]) -> None:
        end_process(process, take_back=self._settings.scheduler is not None)

    def _run(self) -> None:
        looked = 0.0
        while not self._ended:
            # Whatever goes wrong: without this thread no job would ever run again.
            try:
                if time.monotonic() - looked > _TIDY_S:
                    looked = time.monotonic()
                    self._hooks.tidy()
                self._requeue_lost()
                while len(self._processes) < self._settings.jobs_at_a_time and not self._ended and self._begin_next():
                    pass
            except Exception:
                _log.exception("the queue of jobs met an error, and goes on")
            with self._changed:
                if not self._ended:
                    self._changed.wait(_LOOK_S)

    def _requeue_lost(self) -> None:
        """Let jobs wait again that run by the database alone: their end could not be recorded."""
        with self._changed:
            self._store.requeue("goes on after an error", running=self._processes)

    def _begin_next(self) -> bool:
        """Start the process of the job whose turn it is; False when there is no other to start."""
        job = self._store.next_waiting()
        if job is None:
            return False
        with self._changed:
            if not self._store.mark_running(job):
                return True
            try:
                process = start_process(job.folder, self._egress.environment(dict(os.environ)))
                self._processes[job.id] = process
                threading.Thread(target=self._follow, args=(job, process), name=f"job {job.id}", daemon=True).start()
            except (OSError, RuntimeError) as error:
                return self._not_begun(job, error)
        _log.info("job starts", extra={"job": job.id})
        self._announce(job)
        return True

    def _not_begun(self, job: Job, error: Exception) -> bool:
        """Record that a job could not be started; False when no other can be started either."""
        process = self._processes.pop(job.id, None)
        if process is not None:
            self._end(process)
        _log.error("job cannot be started: %s", error, extra={"job": job.id})
        # Of an error of the system without its paths, which are nobody's business.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if passes(error):
            self._store.settle(job, ACCEPTED, f"cannot be started yet: {reason}")
            return False
        reason = reason if job.folder.is_dir() else "its folder is gone"
        self._store.settle(job, FAILED, f"could not be started: {reason}; order it again")
        self._announce(job)
        self.notify()
        return True

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Record the events of a job's process, until it ends."""
        failure: Failure | None = None
        try:
            failure = self._listen(job, process)
        except Exception:
            _log.exception("events of a job's process cannot be recorded", extra={"job": job.id})
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
                    _log.exception("the end of a job cannot be recorded: it is tried again", extra={"job": job.id})
                finally:
                    del self._processes[job.id]
                    self._changed.notify_all()
        self._announce(job)
        self.notify()

    def _announce(self, job: Job) -> None:
        """Call for a job as it is now; one that waits again is not announced."""
        found = self._store.shared(job.id)
        if found is not None and found.status in (RUNNING, SUCCESSFUL, FAILED):
            self._hooks.changed(found)

    def _listen(self, job: Job, process: subprocess.Popen[str]) -> Failure | None:
        """Read the events of a job's process to their end; returns why it failed, where it says so."""
        failure: Failure | None = None
        began, first = time.monotonic(), 0
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
                    failure = Failure(event["message"], event.get("status"))
        return failure

    def _update(
        self, job: Job, message: str, finished: int | None = None, chunks: int | None = None, left: float | None = None
    ) -> None:
        try:
            self._store.update(job, message, finished, chunks, left)
        except sqlite3.Error as error:
            # Progress is for readers: the job itself does not depend on it.
            _log.warning("progress of a job cannot be recorded: %s", error, extra={"job": job.id})

    def _close(self, job: Job, code: int, failure: Failure | None) -> None:
        """Record how a job's process has ended."""
        status, message = (SUCCESSFUL, "finished") if code == 0 else (FAILED, failure.message if failure else None)
        if message is None:
            tried = self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
            status, message = (
                (ACCEPTED, "its process died: it is tried again")
                if tried <= _RETRIES
                else (FAILED, f"its process died (code {code}), most likely for want of memory")
            )
        self._store.settle(job, status, message, None if failure is None else failure.status)
        _log.info("job is %s: %s", status, message, extra={"job": job.id})
