"""The bare network: nothing is read, constrained or written, and no margin computed twice.

    python benchmarks/bare.py SIDE REPEATS [THREADS]

Prints median and mean seconds per million pixels, for windows of ``SIDE`` pixels, as JSON. Run by other benchmarks.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
from numpy.typing import NDArray

from geosr import hardware
from geosr.codegen.winograd.library import compiled
from geosr.engine import EngineSpec, Parallel, choose_engine
from geosr.engine.buffers import BufferPool
from geosr.engine.openvino_engine import OpenVinoEngine, compile_graph, graphs_of
from geosr.engine.pooled import ChunkArrays, EngineStep
from geosr.engine.winograd.dispatch import Runner
from geosr.engine.winograd.layout import PolyphaseLayout
from geosr.engine.winograd.network import WinogradNetwork, read_layers
from geosr.model.card import ModelCard
from geosr.model.weights import read_weights
from geosr.model.zoo import DEFAULT_MODEL, read_card


def steps_of(spec: EngineSpec, side: int, parallel: Parallel) -> list[EngineStep]:
    """Functions that compute the residual of the default model's network from ``lr``, without a margin."""
    card = read_card(DEFAULT_MODEL)
    assert card.network is not None
    if spec.name == "winograd-cpu":
        return [bare_winograd(card, side, parallel.threads)]
    transfers = card.transfers([None] * 4, plain_image=False)
    engine = OpenVinoEngine(card, transfers, spec, parallel)
    bare = card.model_copy(update={"halo_px": 0})
    graphs = graphs_of(
        bare,
        engine._taps,
        engine._weights,
        (1, 4, side, side),
        0,
        engine._rounded,
        uncertainty=False,
        plain_image=False,
    )
    return [compile_graph(*graph, parallel.threads) for graph in graphs.network(spec.precision)]


def bare_winograd(card: ModelCard, side: int, threads: int) -> EngineStep:
    """Make the function of :func:`steps_of` for Winograd's engine."""
    assert card.network is not None
    code, memory = compiled(), BufferPool()
    layers = read_layers(read_weights(card), card.network, code.outputs)
    layout = PolyphaseLayout(side, side, code.step)
    runner = Runner(layout, code, threads, list(layers.values()), memory)
    network = WinogradNetwork(layout, runner, layers, card.network, 0, memory)

    def step(known: ChunkArrays) -> dict[str, NDArray[np.float32]]:
        made = network(known["lr"][0])
        assert made.residual is not None
        residual = memory.scratch("residual", (1, len(made.residual), side, side))
        runner.deinterleave(made.residual, made.region, residual[0])
        return {"residual": residual}

    return step


def main() -> None:
    """Measure."""
    side, repeats, *threads = map(int, sys.argv[1:])
    spec = choose_engine()
    steps = steps_of(spec, side, Parallel(1, *(threads or [hardware.cores()])))
    lr = np.random.default_rng(0).random((1, 4, side, side), np.float32)
    taken = []
    for _ in range(repeats + 1):
        began, known = time.perf_counter(), {"lr": lr}
        for step in steps:
            known |= step(known)
        taken.append(time.perf_counter() - began)
    median, mean = (one(taken[1:]) / (side * side) * 1e6 for one in (statistics.median, statistics.mean))
    print(json.dumps({"engine": str(spec), "s_per_mpx": median, "mean_s_per_mpx": mean}))


if __name__ == "__main__":
    main()
