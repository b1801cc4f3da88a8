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

from geosr.engine import EngineSpec, Parallel, choose_engine, system
from geosr.engine.memory import Memory
from geosr.engine.openvino_engine import OpenVinoEngine, Step
from geosr.engine.openvino_graphs import Graphs
from geosr.engine.winograd_engine import Network, WinogradEngine
from geosr.model.zoo import DEFAULT_MODEL, read_card


def steps_of(spec: EngineSpec, side: int, parallel: Parallel) -> list[Step]:
    """What makes the residual of the default model's network out of ``lr``, without a margin."""
    card = read_card(DEFAULT_MODEL)
    assert card.network is not None
    transfers = card.transfers([None] * 4, picture=False)
    if spec.name == "winograd-cpu":
        layers = WinogradEngine(card, transfers, spec, parallel)._layers
        return [Network(layers, card.network, (side, side), 0, parallel.threads, Memory())]
    engine = OpenVinoEngine(card, transfers, spec, parallel)
    graphs = Graphs(
        (1, 4, side, side),
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
    return [engine._compile(*graph) for graph in graphs.network(spec.precision)]


def main() -> None:
    """Measure."""
    side, repeats, *threads = map(int, sys.argv[1:])
    spec = choose_engine()
    steps = steps_of(spec, side, Parallel(1, *(threads or [system.cores()])))
    lr = np.random.default_rng(0).random((1, 4, side, side), np.float32)
    taken = []
    for _ in range(repeats + 1):
        began, known = time.perf_counter(), {"lr": lr}
        for step in steps:
            known |= step(known)
        taken.append(time.perf_counter() - began)
    print(json.dumps({"engine": str(spec), "s_per_mpx": statistics.median(taken[1:]) / (side * side) * 1e6}))


if __name__ == "__main__":
    main()
