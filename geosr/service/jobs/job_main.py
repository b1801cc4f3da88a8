"""A job in a process of its own, which ends with the service: ``python -m geosr.service.jobs.job_main FOLDER``.

Speaks in lines of JSON on standard output. What it has finished stays in its folder, and the next attempt goes on from
there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catalog
from catalog import CatalogError, Restriction, SceneRequest
from geosr.engine import EngineChoice
from geosr.errors import GeosrError, ResumeError
from geosr.progress import QuietReporter
from geosr.run.pipeline import super_resolve
from geosr.run.request import Cluster, UpscaleRequest
from geosr.service.jobs.display_files import write_display_files
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.processes import CHANGE, PROCESSES, UPSCALE
from geosr.service.jobs.spec import JobSpec
from geosr.service.messages import for_clients
from geosr.service.problems import problem_of
from geosr.service.results.period_and_area import ordered
from geosr.settings import settings
from tiling import TilingError

PRODUCT = PROCESSES[UPSCALE].outputs["product"].file

#: Seconds to wait for the folder, which a job of a service that was killed may hold for a moment.
_WAIT_S = 20.0


class JsonLineReporter(QuietReporter):
    """Tells the service."""

    def note(self, text: str) -> None:
        emit(event="note", text=text)

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        emit(event="begin", chunks=total, finished=finished)

    def chunk(self, key: str, finished: int, total: int) -> None:
        emit(event="chunk", finished=finished, chunks=total)

    def stage(self, text: str) -> None:
        emit(event="stage", text=text)


class TwoDatesReporter(JsonLineReporter):
    """Tells the service of two scenes of as many chunks as of one that has them all."""

    def __init__(self, first: Path) -> None:
        """``first`` is the product of the first scene, which is there once it is finished."""
        self._first = first
        self._before = 0

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        self._before = total if self._first.exists() else 0
        super().begin(description, 2 * total, self._before + finished, lr_pixels)

    def chunk(self, key: str, finished: int, total: int) -> None:
        super().chunk(key, self._before + finished, 2 * total)


def emit(**event: Any) -> None:
    """One line for the service."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Do what the folder's specification says."""
    _end_with_service()
    # Live tiles, which somebody waits for, come before.
    os.nice(5)
    folder = Path(sys.argv[1]).resolve()
    spec = JobSpec.read(folder)
    catalog.restrict(Restriction(tuple(map(Path, spec.folders)), spec.hosts))
    try:
        if spec.process == CHANGE:
            # It takes a second to load, which others need not wait for.
            from geosr.service.jobs.change_job import run_change

            _attempt(
                lambda: run_change(spec, folder, TwoDatesReporter(folder / PROCESSES[CHANGE].outputs["before"].file))
            )
        else:
            _attempt(lambda: _upscale(spec, folder))
            add_display_files(folder / PRODUCT)
    except (GeosrError, CatalogError, TilingError, MemoryError) as error:
        problem = problem_of(error)
        message = for_clients(str(error)) if str(error) else type(error).__name__
        emit(event="failed", message=message, status=problem.status)
        return 1
    emit(event="done")
    return 0


def add_display_files(product: Path) -> None:
    """Write the preview and styles of a finished product, which is whole without them as well."""
    try:
        write_display_files(product)
    except (CatalogError, TilingError) as error:
        emit(event="note", text=f"the product has no preview, or not all styles: {error}")


def _upscale(spec: JobSpec, folder: Path) -> None:
    inputs, defaults = UpscaleInputs.model_validate(spec.inputs), settings()
    scene = SceneRequest(
        source=spec.source,
        more_sources=tuple(one.source for one in spec.dates),
        area=inputs.area,
        datetime=None if inputs.datetime is None else ordered(inputs.datetime),
        max_cloud=inputs.max_cloud,
        api=spec.api,
        collection=spec.collection,
        fill=inputs.fill,
        nodata=inputs.nodata,
        mask_clouds=inputs.mask_clouds,
        sensor=None if inputs.sensor is None else catalog.read_sensor(inputs.sensor),
    )
    request = UpscaleRequest(
        scene,
        folder / PRODUCT,
        model=inputs.model_ref,
        # As for the command on this machine.
        engine=EngineChoice(defaults.engine, defaults.device, defaults.precision),
        cluster=Cluster(spec.workers, spec.scheduler),
        core_px=defaults.core_px,
        compression=defaults.compression,
        uncertainty=inputs.uncertainty,
        dates=inputs.choice(spec.source),
        max_pixels=spec.max_pixels,
    )
    super_resolve(request, JsonLineReporter())


def _attempt(work: Callable[[], None]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            work()
            return
        except ResumeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _end_with_service() -> None:
    """The service holds the other end of standard input, and says nothing there: its end is the service's."""

    def watch() -> None:
        # Below Python's own buffers, for a thread that waits in those keeps the process from ending.
        os.read(sys.stdin.fileno(), 1)
        os._exit(130)

    threading.Thread(target=watch, name="watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
