"""What uncertainty costs: the forward pass with half-widths against without, and the same of the whole command.

    python benchmarks/uncertainty.py

Both alternate in one process, or one after the other for the command; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import keep
from memory import write_scene

from geosr.model.build import build
from geosr.model.zoo import DEFAULT_MODEL, read_card


def alternate(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    first(), second()
    for _ in range(repeats):
        for kept, work in zip(seconds, (first, second), strict=True):
            began = time.perf_counter()
            work()
            kept.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--side", type=int, default=1000, help="of the command's scene, pixels")
    arguments = parser.parse_args()
    card = read_card(DEFAULT_MODEL)
    model = build(card, [None] * 4)
    assert model.network is not None
    model.network.to(memory_format=torch.channels_last)
    lr = torch.rand(1, 4, 256 + 2 * card.halo_px, 256 + 2 * card.halo_px)
    with torch.inference_mode():
        without, within = alternate(lambda: model(lr), lambda: model.with_half_width(lr), arguments.repeats)

    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "scene.tif", Path(folder) / "out.tif"
        write_scene(source, arguments.side)
        command = [sys.executable, "-m", "geosr", "upscale", str(source), "-o", str(output), "-q", "--overwrite"]

        def upscale(*options: str) -> None:
            for made in Path(folder).glob("out*"):
                made.unlink()
            subprocess.run([*command, *options], check=True, capture_output=True)

        plain, doubting = alternate(upscale, lambda: upscale("--uncertainty"), max(1, arguments.repeats // 3))
    keep(
        "uncertainty",
        "python benchmarks/uncertainty.py",
        {
            "model": DEFAULT_MODEL,
            "pass": {
                "seconds": round(without, 4),
                "with_half_widths": round(within, 4),
                "ratio": round(within / without, 3),
            },
            "command": {
                "side_px": arguments.side,
                "seconds": round(plain, 2),
                "with_uncertainty": round(doubting, 2),
                "ratio": round(doubting / plain, 3),
            },
        },
    )


if __name__ == "__main__":
    main()
