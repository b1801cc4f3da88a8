"""``geosr upscale`` of a raster in this process, with the seconds that threads spend in each stage, as JSON.

    python benchmarks/timed.py SOURCE OUTPUT

Run by ``end_to_end.py``; what is timed is wrapped from outside.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections import Counter
from functools import wraps
from pathlib import Path
from typing import Any

from work import needed_margins

import tiling
from catalog import SceneRequest
from geosr.engine import choose_engine, pooled
from geosr.engine.pooled import PooledEngine
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.progress import PlainReporter
from geosr.run import executor
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest

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
    timed(PooledEngine, "upscale", "engine")
    spec = choose_engine()
    if spec.name == "openvino-cpu":
        # Only then, for others do not load it.
        from geosr.engine import openvino_engine

        timed(openvino_engine, "compile_graph", "compile")
    timed(pooled, "stream_rows", "taken")
    timed(executor, "upscale_part", "upscale")
    timed(executor, "write_encoded", "write")
    timed(tiling, "mosaic", "assemble")
    card, upscale = read_card(DEFAULT_MODEL), PooledEngine.upscale
    # Dense blocks are nearly all of the network.
    needed = needed_margins(card, spec.name)[:-1]

    def counting(engine: Any, lr: Any, *arguments: Any, **options: Any) -> Any:
        rows, cols = (side - 2 * card.halo_px for side in lr.shape[1:])
        pixels["network"] += round(statistics.mean((rows + 2 * margin) * (cols + 2 * margin) for margin in needed))
        return upscale(engine, lr, *arguments, **options)

    PooledEngine.upscale = counting  # type: ignore[method-assign]
    began = time.perf_counter()
    super_resolve(UpscaleRequest(SceneRequest(source), Path(output), overwrite=True, restart=True), PlainReporter())
    total = time.perf_counter() - began
    stages = {
        "read": seconds["read"],
        "network and constraint": seconds["engine"] - seconds["taken"] - seconds["compile"],
        "compile": seconds["compile"],
        "to DN and encode": seconds["upscale"] - seconds["engine"] + seconds["taken"],
        "write": seconds["write"],
        "assemble": seconds["assemble"],
    }
    print(json.dumps({"seconds": total, "stages": stages, "network_px": pixels["network"]}))


if __name__ == "__main__":
    main()
