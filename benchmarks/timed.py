"""``geosr upscale`` of a raster in this process, with the seconds that threads spend in each stage, as JSON.

    python benchmarks/timed.py SOURCE OUTPUT

Run by ``end_to_end.py``; what is timed is wrapped from outside.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from functools import wraps
from pathlib import Path
from typing import Any

import tiling
from catalog import SceneRequest
from geosr.engine import openvino_engine
from geosr.jobs import executor
from geosr.pipeline import UpscaleRequest, super_resolve
from geosr.progress import PlainReporter
from geosr.upscaler import Upscaler

seconds: Counter[str] = Counter()
pixels: Counter[str] = Counter()
lock = threading.Lock()


def timed(owner: Any, name: str, stage: str) -> None:
    """Wrap a function so that what it takes is counted."""
    work = getattr(owner, name)

    @wraps(work)
    def counting(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            with lock:
                seconds[stage] += time.perf_counter() - began

    setattr(owner, name, counting)


def main() -> None:
    """Upscale and tell."""
    source, output = sys.argv[1:]
    timed(executor, "read_part", "read")
    timed(openvino_engine, "_run_network", "network")
    timed(openvino_engine.OpenVinoEngine, "upscale", "engine")
    timed(openvino_engine.OpenVinoEngine, "_compile", "compile")
    timed(Upscaler, "__call__", "upscale")
    timed(tiling, "encode_chunk", "encode")
    timed(executor, "write_encoded", "write")
    timed(tiling, "mosaic", "assemble")
    network = openvino_engine._run_network

    def counting(parts: Any, lr: Any) -> Any:
        pixels["network"] += lr.shape[2] * lr.shape[3]
        return network(parts, lr)

    openvino_engine._run_network = counting
    began = time.perf_counter()
    super_resolve(UpscaleRequest(SceneRequest(source), Path(output), overwrite=True, restart=True), PlainReporter())
    total = time.perf_counter() - began
    stages = {
        "read": seconds["read"],
        "network": seconds["network"],
        "compile": seconds["compile"],
        "constrain": seconds["engine"] - seconds["network"] - seconds["compile"],
        "to DN": seconds["upscale"] - seconds["engine"],
        "encode": seconds["encode"],
        "write": seconds["write"],
        "assemble": seconds["assemble"],
    }
    print(json.dumps({"seconds": total, "stages": stages, "network_px": pixels["network"]}))


if __name__ == "__main__":
    main()
