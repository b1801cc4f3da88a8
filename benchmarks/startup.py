"""From a cold start: ``geosr --help``, the imports, and a whole small job, each a process of its own.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import arguments_of, command_of, keep
from scenes import write_scene

from geosr.engine import choose_engine

GEOSR = [sys.executable, "-m", "geosr"]

#: What an upscaling imports before it computes.
IMPORTS = "import geosr.run.pipeline, geosr.cli.main, geosr.engine.winograd.engine, tiling, catalog"

#: And what a service does before it answers.
SERVICE = "import geosr.service.app"


def seconds_of(*command: object) -> float:
    """Run a command; returns its seconds."""
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure."""
    parser = arguments_of(__doc__)
    parser.add_argument("--side", type=int, default=512, help="of the job's raster, pixels")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    side, repeats = (32, 1) if arguments.smoke else (arguments.side, arguments.repeats)
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "scene.tif", Path(name) / "out.tif"
        write_scene(source, side)
        commands: dict[str, tuple[object, ...]] = {
            "python": (sys.executable, "-c", "pass"),
            "help": (*GEOSR, "--help"),
            "imports": (sys.executable, "-c", IMPORTS),
            "service": (sys.executable, "-c", SERVICE),
            "job": (*GEOSR, "upscale", source, "-o", output, "--overwrite"),
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for what, command in commands.items():
                # A finished run would not be repeated.
                output.unlink(missing_ok=True)
                taken[what].append(seconds_of(*command))
    content = {
        "side_px": side,
        "engine": str(choose_engine()),
        "seconds": {what: round(statistics.median(times), 3) for what, times in taken.items()},
    }
    keep("startup", command_of(parser, arguments), content, arguments.results)


if __name__ == "__main__":
    main()
