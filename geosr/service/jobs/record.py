"""Record of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosr.run.uncertainty_layers import EARLIER_NAMES
from geosr.service.jobs.processes import PROCESSES, UPSCALE, Process

ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED = "accepted", "running", "successful", "failed", "dismissed"
STATUSES = (ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED)


@dataclass(frozen=True)
class Job:
    """A job as it is now."""

    id: str
    key_id: str | None
    status: str
    inputs: Mapping[str, Any]
    folder: Path
    message: str
    finished_chunks: int
    chunks: int
    seconds_left: float | None
    created: float
    started: float | None
    finished: float | None
    updated: float
    failure_status: int | None = None
    """Status of HTTP that a request with the error of a failed job has; None where nothing is known of it."""
    delivery: str = "{}"
    """Form in which the results are wanted, JSON."""
    title: str | None = None
    """Name that its owner has given it."""
    process_id: str = UPSCALE

    @property
    def process(self) -> Process:
        """Process whose job it is."""
        return PROCESSES[self.process_id]

    @property
    def has_result(self) -> bool:
        """True while the map or product that it has made is there."""
        return self.process.main in self.files()

    @property
    def over(self) -> bool:
        """True when nothing more will become of it."""
        return self.status in (SUCCESSFUL, FAILED, DISMISSED)

    @property
    def progress(self) -> int:
        """Percent; 100 only when all is there."""
        if self.status == SUCCESSFUL:
            return 100
        return min(99, 100 * self.finished_chunks // self.chunks) if self.chunks else 0

    def files(self) -> dict[str, Path]:
        """Files that it has made, by the names of the process' outputs."""
        named = {name: self.folder / output.file for name, output in self.process.outputs.items()}
        for name, earlier in EARLIER_NAMES.items():
            if name in named and not named[name].exists():
                named[name] = self.folder / f"{self.process.stem}_{earlier}.tif"
        return {name: path for name, path in named.items() if path.exists()}


def job_of(row: Any) -> Job:
    """A row of the database."""
    return Job(
        id=row["id"],
        key_id=row["key_id"],
        status=row["status"],
        inputs=json.loads(row["inputs"]),
        folder=Path(row["folder"]),
        message=row["message"],
        finished_chunks=row["finished_chunks"],
        chunks=row["chunks"],
        seconds_left=row["seconds_left"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        updated=row["updated"],
        failure_status=row["failure_status"],
        delivery=row["delivery"],
        title=row["title"],
        process_id=row["process"],
    )
