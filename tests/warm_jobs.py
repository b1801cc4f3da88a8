"""Processes of a service's jobs that begin warm, as :mod:`tests.warm` describes."""

from __future__ import annotations

import os
import threading
from multiprocessing import connection
from pathlib import Path

from tests.warm import WarmProcess

#: Variable of a service's environment that asks for them.
WARM_JOBS = "TESTS_WARM_JOBS"


class WarmJob(WarmProcess):
    """The process of the job that is ordered in a folder, as :mod:`geosr.service.jobs.process` starts and ends it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._reading = threading.Lock()
        heard, self._told = os.pipe()
        events, said = os.pipe()
        self.stdout = os.fdopen(events, encoding="utf-8", errors="replace")
        with (folder / "job.log").open("ab") as log, os.fdopen(heard, "rb") as stdin, os.fdopen(said, "wb") as stdout:
            super().__init__(
                "geosr.service.jobs.job_main",
                folder,
                stdin=stdin,
                stdout=stdout,
                stderr=log,
                environment=environment,
                new_session=True,
            )

    def wait(self, timeout: float | None = None) -> int:
        connection.wait([self._process.sentinel], timeout)
        # Several threads wait, and the status can be read once.
        with self._reading:
            return super().wait(0)

    def __del__(self) -> None:
        os.close(self._told)


def use_warm_jobs() -> None:
    """Let the service of this process start its jobs warm."""
    from geosr.service.jobs import job_runner

    job_runner.start_process = WarmJob  # type: ignore[assignment]
