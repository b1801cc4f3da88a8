"""The process of a job: its specification, its start, what it says, and its end with all that it has started."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from geosr.service.fetch import fetch_item
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.orders import JobInputs
from geosr.service.jobs.spec import DateSource, JobSpec
from geosr.service.settings import ServiceSettings

#: Seconds that a job's process has to take its chunks back from the workers of a scheduler.
_TAKE_BACK_S = 1.0

#: Why nothing can be started for a while, whichever job it is.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT})


def job_spec_of(inputs: JobInputs, scenes: Sequence[DateSource], folder: Path, settings: ServiceSettings) -> JobSpec:
    """Specification of a job's process; ``scenes`` are those that the inputs name.

    Raises :class:`geosr.service.problems.Problem` for an Item that cannot be fetched.
    """
    source = scenes[0].source if scenes else None
    folders = [str(folder), *(str(Path(scene.source).parent) for scene in scenes)]
    if isinstance(inputs, UpscaleInputs) and inputs.item is not None:
        content = fetch_item(inputs.item, settings.allowed_hosts)
        source = str(folder / "item.json")
        Path(source).write_text(json.dumps(content), encoding="utf-8")
    return JobSpec(
        inputs=inputs.model_dump(mode="json", exclude_defaults=True),
        source=source,
        api=settings.api,
        collection=settings.collection,
        folders=tuple(folders),
        hosts=settings.allowed_hosts,
        max_pixels=settings.max_pixels,
        scheduler=settings.scheduler,
        workers=settings.workers,
        process=inputs.process,
        dates=tuple(scenes[1:] if isinstance(inputs, UpscaleInputs) else scenes),
    )


def start_process(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the job that is ordered in a folder. Raises :class:`OSError`."""
    with (folder / "job.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "geosr.service.jobs.job_main", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # What libraries print there is not ours, and may be anything.
            errors="replace",
            env=environment,
            # A group of its own, so that the processes of a cluster of its own end with it.
            start_new_session=True,
        )


def end_process(process: subprocess.Popen[str], *, take_back: bool) -> None:
    """End a job's process and all that it has started; what is finished is in files, whole or not there.

    With ``take_back`` it first takes back what the workers of others have been given; there is not much time for that.
    """
    if take_back:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=_TAKE_BACK_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def event_of(line: str) -> dict[str, Any] | None:
    """Parse a line of a job's process; None for what something else has printed there."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def passes(error: Exception) -> bool:
    """Tell whether an error at a job's start passes: the machine has no more files, memory or disk."""
    # Threads that cannot be started are a RuntimeError.
    return isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno in _PASSING)
