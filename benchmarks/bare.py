"""The bare network: nothing is read, constrained or written, and no margin computed twice.

    python benchmarks/bare.py SIDE REPEATS [THREADS]

Prints the median seconds per million pixels, for windows of ``SIDE`` pixels, as JSON. Run by other benchmarks.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np

from geosr.engine import Parallel, choose_engine, openvino_engine, system
from geosr.engine.openvino_graphs import Graphs
from geosr.model.zoo import DEFAULT_MODEL, read_card


def main() -> None:
    """Measure."""
    side, repeats, *threads = map(int, sys.argv[1:])
    card = read_card(DEFAULT_MODEL)
    spec = choose_engine()
    engine = openvino_engine.OpenVinoEngine(
        card, card.transfers([None] * 4, picture=False), spec, Parallel(1, *(threads or [system.cores()]))
    )
    lr = np.random.default_rng(0).random((1, 4, side, side), np.float32)
    graphs = Graphs(
        lr.shape,
        card.scale,
        engine._taps,
        base=card.base,
        steps=card.steps,
        halo_px=0,
        margin_px=0,
        doubts=False,
        size=card.network,
        weights=engine._weights,
    )
    requests = [engine._compile(*graph) for graph in graphs.network(spec.precision)]
    taken = []
    for _ in range(repeats + 1):
        began, known = time.perf_counter(), {"lr": lr}
        for request in requests:
            known |= openvino_engine._infer(request, known)
        taken.append(time.perf_counter() - began)
    print(json.dumps({"engine": str(spec), "s_per_mpx": statistics.median(taken[1:]) / (side * side) * 1e6}))


if __name__ == "__main__":
    main()
