"""Engines × precisions × sizes of a chunk: million pixels per second, and the most memory that the process held.

    python benchmarks/engines.py

Each row is a process of its own that upscales the same chunk again and again: network, constraint, and nothing else.
Where a processor has no instructions for a precision and imitates it, only the smallest chunk is measured.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments_of, command_of, keep
from processes import run

from geosr import hardware
from geosr.engine import EngineSpec, Parallel, check_engine
from geosr.engine.chunking import CORES_PX, bytes_of_chunk
from geosr.engine.rows import Rows, in_strips
from geosr.engine.start import start_engine
from geosr.errors import DeviceError
from geosr.model.zoo import DEFAULT_MODEL, read_card

SPECS = (
    EngineSpec("winograd-cpu", "float32"),
    EngineSpec("openvino-cpu", "float32"),
    EngineSpec("openvino-cpu", "bfloat16"),
    EngineSpec("torch-cpu", "float32"),
    EngineSpec("torch-cpu", "bfloat16"),
    EngineSpec("torch-cuda", "float32"),
    EngineSpec("torch-cuda", "bfloat16"),
    EngineSpec("torch-cuda", "float16"),
)


def row(name: str, precision: str, side: int, repeats: int) -> None:
    """One row, in this process: prints the median seconds of a chunk with its halo."""
    card = read_card(DEFAULT_MODEL)
    transfers = card.transfers([None] * 4, plain_image=False)
    # All cores for one chunk.
    engine = start_engine(card, transfers, EngineSpec(name, precision), Parallel(1, hardware.cores()))
    lr = np.random.default_rng(0).random((4, side, side), np.float32)
    valid = np.ones(lr.shape, bool)
    taken = []

    def all_rows(image: Rows) -> None:
        """As where they become DN."""
        in_strips(image.shape[2], hardware.cores(), lambda some: image(some.start, some.stop))

    for _ in range(repeats + 1):
        began = time.perf_counter()
        engine.upscale(lr, valid, sink=all_rows)
        taken.append(time.perf_counter() - began)
    print(json.dumps(statistics.median(taken[1:])))


def is_here(spec: EngineSpec) -> bool:
    """Return True if this machine has an engine."""
    try:
        check_engine(spec)
    except DeviceError:
        return False
    return True


def main() -> None:
    """Measure every row that this machine can."""
    parser = arguments_of(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="beside one to warm up")
    parser.add_argument("--row", nargs=3, metavar=("ENGINE", "PRECISION", "SIDE"), help="one row, in this process")
    arguments = parser.parse_args()
    if arguments.row:
        name, precision, side = arguments.row
        row(name, precision, int(side), arguments.repeats)
        return
    card = read_card(DEFAULT_MODEL)
    rows: list[dict[str, Any]] = []
    sizes = (32,) if arguments.smoke else sorted(CORES_PX)
    for spec in filter(is_here, SPECS[:2] if arguments.smoke else SPECS):
        imitated = spec == EngineSpec("torch-cpu", "bfloat16") and not hardware.has_fast_bfloat16()
        for core in sizes[: 1 if imitated else None]:
            side = core + 2 * card.halo_px
            command = [sys.executable, Path(__file__), "--repeats", 1 if arguments.smoke else arguments.repeats]
            with tempfile.TemporaryDirectory() as folder:
                taken = run([*command, "--row", spec.name, spec.precision, side], Path(folder))
            seconds = float(taken.output.splitlines()[-1])
            rows.append(
                {
                    "engine": spec.name,
                    "precision": spec.precision,
                    "core_px": core,
                    "mpx_per_s": round(core * core / seconds / 1e6, 4),
                    "peak_mib": round(taken.peak_mib),
                    "reckoned_mib": round(bytes_of_chunk(card, spec, 4, core) / 2**20),
                }
            )
    keep("engines", command_of(parser, arguments), {"model": DEFAULT_MODEL, "rows": rows}, arguments.results)


if __name__ == "__main__":
    main()
