"""Record of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosr.run.uncertainty_layers import EARLIER_NAMES
from geosr.service.jobs.job_main import PRODUCT

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
        stem = self.folder / PRODUCT
        named = {
            "product": stem,
            "uncertainty": stem.with_name("product_uncertainty.tif"),
            "measured": stem.with_name("product_measured.tif"),
            "item": stem.with_suffix(".json"),
        }
        for name, earlier in EARLIER_NAMES.items():
            if not named[name].exists():
                named[name] = stem.with_name(f"{stem.stem}_{earlier}.tif")
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
    )
