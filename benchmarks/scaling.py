"""One worker of a Dask scheduler beside two, and the memory of a scheduler with ten thousand chunks.

    python benchmarks/scaling.py

Scheduler and workers are started as the documentation says, each worker on one core. The same scene goes to one worker
and to two, in turn; the outputs have to be the same bytes, which are also those of a single process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from distributed import Client
from machine import arguments_of, command_of, keep
from scenes import write_scene

from catalog import SceneRequest
from geosr.engine import choose_engine
from geosr.model.zoo import DEFAULT_MODEL, ModelRef, read_card
from geosr.progress import QuietReporter
from geosr.run import cluster
from geosr.run.pipeline import super_resolve
from geosr.run.request import Cluster, UpscaleRequest

HERE = Path(__file__).parent
SCRIPTS = Path(sys.executable).parent


@contextmanager
def ended(command: list[object], log: Path) -> Iterator[psutil.Process]:
    """A process that goes with the block."""
    with log.open("wb") as output, psutil.Popen(list(map(str, command)), stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A scheduler; its address and process."""
    told = folder / f"scheduler-{time.monotonic_ns()}.json"
    command: list[object] = [SCRIPTS / "dask", "scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard"]
    with ended([*command, "--scheduler-file", told], folder / "scheduler.log") as process:
        while not told.exists():
            time.sleep(0.05)
        with Client(scheduler_file=str(told)) as client:
            address = client.scheduler.address
        yield address, process


@contextmanager
def workers(address: str, count: int, folder: Path) -> Iterator[None]:
    """Workers on one core each."""
    with ExitStack() as stack:
        for number in range(count):
            command: list[object] = [SCRIPTS / "geosr", "worker", address, "--threads", 1]
            stack.enter_context(ended(command, folder / f"worker-{number}.log"))
        with Client(address) as client:
            client.wait_for_workers(count, timeout=60)
        yield
    # The next are not to begin before these are gone.
    with Client(address) as client:
        while client.scheduler_info()["workers"]:
            time.sleep(0.1)


class Watcher(QuietReporter):
    """Looks at a process whenever a chunk is finished."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.peak = self.chunks = 0

    def chunk(self, key: str, finished: int, total: int) -> None:
        self.peak, self.chunks = max(self.peak, self._process.memory_info().rss), total


def upscale(source: Path, output: Path, *options: object) -> float:
    """Seconds of the command."""
    # A finished run would not be repeated.
    output.unlink(missing_ok=True)
    command = [SCRIPTS / "geosr", "upscale", source, "-o", output, "--overwrite", *options]
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return time.perf_counter() - began


def by_workers(
    folder: Path, address: str, side: int, core: int, repeats: int, model: str, counts: Sequence[int]
) -> dict[str, object]:
    """The fewest workers of a scheduler against the most."""
    source = folder / "scene.tif"
    write_scene(source, side)
    alone = folder / "alone.tif"
    options = ("--core", core, "--model", model)
    upscale(source, alone, *options)
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            with workers(address, count, folder):
                output = folder / f"by-{count}.tif"
                taken[count].append(upscale(source, output, *options, "--scheduler", address))
                assert output.read_bytes() == alone.read_bytes(), "the workers' bytes differ"
    return {
        "side_px": side,
        "core_px": core,
        "seconds": {str(count): round(statistics.median(times), 1) for count, times in taken.items()},
        "times_as_fast": round(
            statistics.median(a / b for a, b in zip(taken[counts[0]], taken[counts[-1]], strict=True)), 2
        ),
    }


def limit(window: int, repeats: int, most: int) -> float:
    """Speed of so many bare networks over that of one; each has a process and a core of its own."""
    command = [sys.executable, str(HERE / "bare.py"), str(window), "5" if repeats > 1 else "1", "1"]

    def seconds(count: int) -> float:
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        told = [process.communicate()[0] for process in running]
        return statistics.mean(float(json.loads(text)["s_per_mpx"]) for text in told)

    return round(statistics.median(most * seconds(1) / seconds(most) for _ in range(repeats)), 2)


def scheduler_mib(folder: Path, address: str, process: psutil.Process, side: int, core: int) -> dict[str, object]:
    """Memory of a new scheduler over a run of many small chunks, all of them handed out at once: more than it ever has."""
    source = folder / "many.tif"
    write_scene(source, side)
    with workers(address, 1, folder):
        before = process.memory_info().rss
        watcher, usual = Watcher(process), cluster._AHEAD
        cluster._AHEAD = (side // core) ** 2
        try:
            request = UpscaleRequest(
                SceneRequest(str(source)),
                folder / "many_sr.tif",
                model=ModelRef("nearest"),
                core_px=core,
                cluster=Cluster(scheduler=address),
                overwrite=True,
            )
            super_resolve(request, watcher)
        finally:
            cluster._AHEAD = usual
    return {
        "chunks": watcher.chunks,
        "idle_mib": round(before / 2**20),
        "peak_mib": round(watcher.peak / 2**20),
    }


def main() -> None:
    """Measure."""
    parser = arguments_of(__doc__)
    parser.add_argument("--side", type=int, default=1024, help="of the scene, pixels")
    parser.add_argument("--core", type=int, default=256, help="side of a chunk, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    side, core, repeats, many, most, model = arguments.side, arguments.core, arguments.repeats, 100, 2, DEFAULT_MODEL
    if arguments.smoke:
        # A network would take seconds to compile in each of many processes, and each worker takes some to start.
        side, core, repeats, many, most, model = 64, 32, 1, 3, 1, "bicubic"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with scheduler(folder) as (address, process):
            memory = scheduler_mib(folder, address, process, 8 * many, 8)
            speed = by_workers(folder, address, side, core, repeats, model, (2,) if arguments.smoke else (1, 2))
        content = {
            "model": model,
            "engine": str(choose_engine()),
            "workers": speed,
            "two_bare_networks_times_as_fast": limit(core + 2 * read_card(DEFAULT_MODEL).halo_px, repeats, most),
            "scheduler": memory,
        }
    keep("scaling", command_of(parser, arguments), content, arguments.results)


if __name__ == "__main__":
    main()
