"""Search for jobs by the parameters that OGC API – Processes 1.0 names (7.11)."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from geosr.service.jobs.queue import Jobs
from geosr.service.jobs.record import STATUSES, Job
from geosr.service.problems import Problem
from geosr.service.results.period_and_area import Period, parse_period
from geosr.service.security.api_keys import Caller


@dataclass(frozen=True)
class JobSearch:
    """Conditions on jobs; None for none."""

    statuses: tuple[str, ...] = ()
    datetime: str | None = None
    """Period in which they were made."""
    min_duration: int | None = None
    max_duration: int | None = None
    """Seconds that they ran, or have run by now; of those that have not begun, nothing is known."""
    processes: tuple[str, ...] = ()
    """Processes whose jobs are wanted; empty for all. Of one that the service does not have, there are none."""

    def __post_init__(self) -> None:
        """Raises :class:`Problem`."""
        unknown = [one for one in self.statuses if one not in STATUSES]
        if unknown:
            raise Problem(400, f"status: {', '.join(unknown)} is none of {', '.join(STATUSES)}")

    def find(self, jobs: Jobs, caller: Caller, limit: int, offset: int) -> tuple[list[Job], int]:
        """Some of the caller's jobs, the latest first, and the number of all that match. Raises :class:`Problem`."""
        if self.datetime is None and self.min_duration is None and self.max_duration is None:
            return jobs.list(caller, self.statuses, limit, offset, self.processes)
        period = None if self.datetime is None else parse_period(self.datetime)
        matching = [
            job for job in jobs.list(caller, self.statuses, -1, 0, self.processes)[0] if self._matches(job, period)
        ]
        return matching[offset : offset + limit], len(matching)

    def address(self, limit: int, offset: int) -> str:
        """The path and the parameters of a page of them."""
        asked = {
            "status": list(self.statuses),
            "processID": list(self.processes),
            "datetime": self.datetime,
            "minDuration": self.min_duration,
            "maxDuration": self.max_duration,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return f"/jobs?{urlencode({'limit': limit, 'offset': offset, **given}, doseq=True)}"

    def _matches(self, job: Job, period: Period | None) -> bool:
        created = dt.datetime.fromtimestamp(job.created, dt.UTC)
        if period is not None and not period.overlaps(Period(created, created)):
            return False
        if self.min_duration is None and self.max_duration is None:
            return True
        if job.started is None:
            return False
        took = (time.time() if job.finished is None else job.finished) - job.started
        return (self.min_duration or 0) <= took and (self.max_duration is None or took <= self.max_duration)
