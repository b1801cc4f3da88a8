"""Specification of a job, which the service writes into the job's folder and the job's process reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

SPEC_FILE = "order.json"


@dataclass(frozen=True)
class DateSource:
    """A scene that a job reads."""

    source: str
    """File of the scene or of its Item."""
    title: str
    nodata: float | None = None
    """A DN without measurement, besides those that the source declares."""
    sensor: str | None = None
    """Name of a sensor profile of the package."""


@dataclass(frozen=True)
class JobSpec:
    """Specification of a job, for its process."""

    inputs: dict[str, Any]
    source: str | None
    """File of the scene or of the Item; None to search."""
    api: str
    collection: str
    folders: tuple[str, ...]
    hosts: tuple[str, ...]
    max_pixels: int
    scheduler: str | None = None
    workers: int = 0
    process: str = "upscale"
    dates: tuple[DateSource, ...] = ()
    """The earlier and the later scene of the process ``change``; the further scenes of ``upscale``."""

    def write(self, folder: Path) -> None:
        """Write the specification into a job's folder."""
        content = TypeAdapter(JobSpec).dump_json(self, indent=2)
        partial = folder / f".{SPEC_FILE}"
        partial.write_bytes(content)
        partial.replace(folder / SPEC_FILE)

    @classmethod
    def read(cls, folder: Path) -> JobSpec:
        """Read the specification in a job's folder."""
        return TypeAdapter(JobSpec).validate_json((folder / SPEC_FILE).read_bytes())
