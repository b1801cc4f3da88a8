"""Rows of jobs in the database: statements about them, and nothing of processes or files."""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from geosr.service.database import Database
from geosr.service.jobs.orders import JobInputs
from geosr.service.jobs.processes import PROCESSES
from geosr.service.jobs.record import ACCEPTED, DISMISSED, FAILED, RUNNING, STATUSES, SUCCESSFUL, Job, job_of
from geosr.service.problems import NO_SUCH_JOB, Problem
from geosr.service.security.api_keys import Caller

_PRIORITIES = {"rapid": 1, "normal": 0}


@dataclass(frozen=True)
class JobOrder:
    """Inputs of a job, and the form of its results."""

    inputs: JobInputs
    delivery: str = "{}"
    """Form in which the results are wanted, JSON; no part of what is computed."""


class JobStore:
    """Jobs as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def requeue(self, message: str, *, running: Collection[str] = ()) -> None:
        """Let jobs wait again that are marked as running but are none of those that do."""
        marks = ", ".join("?" * len(running))
        self._database.change(
            f"UPDATE jobs SET status = ?, message = ? WHERE status = ? AND id NOT IN ({marks})",
            (ACCEPTED, message, RUNNING, *running),
        )

    def folders(self) -> set[str]:
        """Folders of all jobs that were not dismissed."""
        return {row["folder"] for row in self._database.rows("SELECT folder FROM jobs WHERE status != ?", (DISMISSED,))}

    def insert_waiting(self, job_id: str, caller: Caller, order: JobOrder, folder: Path) -> None:
        """Insert a job that waits for its turn."""
        self._insert(job_id, caller, order, folder, {"status": ACCEPTED, "message": "waits for its turn"})

    def insert_answered(self, job_id: str, caller: Caller, order: JobOrder, earlier: Job) -> None:
        """Insert a job that an ``earlier`` one with the same inputs has answered."""
        now = time.time()
        over = {"started": now, "finished": now, "finished_chunks": earlier.chunks, "chunks": earlier.chunks}
        message = "answered from an earlier job with the same inputs"
        self._insert(job_id, caller, order, earlier.folder, {"status": SUCCESSFUL, "message": message, **over})

    def _insert(
        self, job_id: str, caller: Caller, order: JobOrder, folder: Path, state: dict[str, str | float]
    ) -> None:
        now, inputs = time.time(), order.inputs
        values = {
            "id": job_id,
            "key_id": caller.key_id,
            "process": inputs.process,
            "inputs": json.dumps(inputs.model_dump(mode="json", exclude_defaults=True)),
            "digest": inputs.digest(),
            "delivery": order.delivery,
            "folder": str(folder),
            "priority": _PRIORITIES[inputs.priority],
            "created": now,
            "updated": now,
            **state,
        }
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._database.change(f"INSERT INTO jobs ({names}) VALUES ({marks})", (*values.values(),))

    def get(self, job_id: str, caller: Caller) -> Job:
        """A job of a caller's. Raises :class:`Problem` where there is none."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ? AND key_id IS ?", (job_id, caller.key_id))
        if row is None:
            raise Problem(404, "there is no such job", kind=NO_SUCH_JOB)
        return job_of(row)

    def list(
        self, caller: Caller, statuses: tuple[str, ...], limit: int, offset: int, processes: tuple[str, ...] = ()
    ) -> tuple[builtins.list[Job], int]:
        """Some of a caller's jobs, the latest first, and the number of all that match; of all processes by default."""
        wanted, of = statuses or STATUSES, processes or tuple(PROCESSES)
        marks = ("?, " * len(wanted)).rstrip(", "), ("?, " * len(of)).rstrip(", ")
        where = f"key_id IS ? AND status IN ({marks[0]}) AND process IN ({marks[1]})"
        values = (caller.key_id, *wanted, *of)
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE {where} ORDER BY created DESC, id LIMIT ? OFFSET ?", (*values, limit, offset)
        )
        counted = self._database.row(f"SELECT count(*) AS n FROM jobs WHERE {where}", values)
        assert counted is not None
        return [job_of(row) for row in rows], int(counted["n"])

    def counts(self) -> dict[str, int]:
        """Jobs by status."""
        rows = self._database.rows("SELECT status, count(*) AS n FROM jobs GROUP BY status")
        return {**dict.fromkeys(STATUSES, 0), **{row["status"]: row["n"] for row in rows}}

    def unfinished(self, caller: Caller) -> int:
        """Number of a caller's jobs that wait or run."""
        row = self._database.row(
            "SELECT count(*) AS n FROM jobs WHERE key_id IS ? AND status IN (?, ?)", (caller.key_id, ACCEPTED, RUNNING)
        )
        assert row is not None
        return int(row["n"])

    def repeated(self, caller: Caller, order: JobOrder) -> Job | None:
        """A caller's own job that the same order made, if it has not failed; a rapid order makes it rapid as well.

        A search may find something else later, so that only an unfinished one is repeated.
        """
        statuses = [ACCEPTED, RUNNING, *([SUCCESSFUL] if order.inputs.repeatable else [])]
        row = self._database.row(
            "SELECT * FROM jobs WHERE key_id IS ? AND digest = ? AND delivery = ? AND status IN "
            f"({', '.join('?' * len(statuses))}) ORDER BY created DESC",
            (caller.key_id, order.inputs.digest(), order.delivery, *statuses),
        )
        job = None if row is None else job_of(row)
        if job is None or (job.status == SUCCESSFUL and not job.has_result):
            return None
        priority = _PRIORITIES[order.inputs.priority]
        self._database.change("UPDATE jobs SET priority = max(priority, ?) WHERE id = ?", (priority, job.id))
        return job

    def shared(self, job_id: str) -> Job | None:
        """A job, whoever asks: for those who have a signed link to it."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return None if row is None else job_of(row)

    def finished_earlier(self, inputs: JobInputs) -> Job | None:
        """A job of anybody's with the same inputs whose product is still there; None without one."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE digest = ? AND status = ? ORDER BY finished DESC", (inputs.digest(), SUCCESSFUL)
        )
        job = None if row is None else job_of(row)
        return job if job is not None and job.has_result else None

    def next_waiting(self) -> Job | None:
        """The job whose turn it is; None when none waits."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE status = ? ORDER BY priority DESC, created LIMIT 1", (ACCEPTED,)
        )
        return None if row is None else job_of(row)

    def mark_running(self, job: Job) -> bool:
        """Mark a waiting job as running; False when it does not wait any more."""
        now = time.time()
        return bool(
            self._database.change(
                "UPDATE jobs SET status = ?, message = ?, started = coalesce(started, ?), updated = ? "
                "WHERE id = ? AND status = ?",
                (RUNNING, "starts", now, now, job.id, ACCEPTED),
            )
        )

    def settle(self, job: Job, status: str, message: str, failure_status: int | None = None) -> None:
        """Record what has become of a job that ran; one that was dismissed meanwhile stays so."""
        now = time.time()
        over = None if status == ACCEPTED else now
        self._database.change(
            "UPDATE jobs SET status = ?, message = ?, failure_status = ?, finished = ?, updated = ?, "
            "seconds_left = NULL WHERE id = ? AND status = ?",
            (status, message, failure_status, over, now, job.id, RUNNING),
        )

    def update(
        self, job: Job, message: str, finished: int | None = None, chunks: int | None = None, left: float | None = None
    ) -> None:
        """Record the progress of a running job; None leaves a number of chunks as it is."""
        self._database.change(
            "UPDATE jobs SET message = ?, finished_chunks = coalesce(?, finished_chunks), "
            "chunks = coalesce(?, chunks), seconds_left = ?, updated = ? WHERE id = ? AND status = ?",
            (message, finished, chunks, left, time.time(), job.id, RUNNING),
        )

    def rename(self, job: Job, title: str) -> None:
        """Give a job a name; an empty one takes it away."""
        self._database.change("UPDATE jobs SET title = ? WHERE id = ?", (title or None, job.id))

    def dismiss(self, job: Job) -> None:
        """Mark a job as dismissed."""
        now = time.time()
        self._database.change(
            "UPDATE jobs SET status = ?, message = ?, finished = coalesce(finished, ?), updated = ?, "
            "seconds_left = NULL WHERE id = ?",
            (DISMISSED, "dismissed", now, now, job.id),
        )

    def remove_finished(self, before: float) -> builtins.list[Job]:
        """Remove the rows of jobs that were over before a time, and return them."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE finished < ? AND status IN (?, ?, ?)", (before, SUCCESSFUL, FAILED, DISMISSED)
        )
        for row in rows:
            self._database.change("DELETE FROM jobs WHERE id = ?", (row["id"],))
        return [job_of(row) for row in rows]

    def is_needed(self, folder: Path) -> bool:
        """True when a job waits or runs in a folder, or is answered from it."""
        row = self._database.row(
            "SELECT 1 FROM jobs WHERE folder = ? AND status NOT IN (?, ?)", (str(folder), DISMISSED, FAILED)
        )
        return row is not None
