"""The whole command over scenes of growing size: time, memory, disk, and what each stage takes of it.

    python benchmarks/end_to_end.py

Scenes are the bundled sample, repeated. The bare network is timed alone, in the windows of the run, and compared on the
scene's pixels: nothing read or written, no margin computed twice. It makes half of as many pixels before the run and
half after it, for a processor that has just begun to work is faster than one that has been at it for minutes.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments_of, command_of, keep, machine
from processes import run
from rio_cogeo import cog_validate
from scenes import write_scene

from geosr.engine import choose_engine
from geosr.engine.chunking import choose_core
from geosr.model.zoo import DEFAULT_MODEL, read_card

HERE = Path(__file__).parent

SIDES = (1372, 2745, 5490, 10980)

#: Windows of the bare network before a run, and after it, at least and at most.
LEAST_WINDOWS, MOST_WINDOWS = 5, 20


def bare_s_per_mpx(side: int, repeats: int) -> float:
    """Seconds of the bare network per million pixels."""
    command = [sys.executable, HERE / "bare.py", str(side), str(repeats)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(told)["mean_s_per_mpx"])


def measure(side: int, window: int, *, smoke: bool) -> dict[str, Any]:
    """One size."""
    repeats = min(max(LEAST_WINDOWS, math.ceil((side / window) ** 2 / 2)), MOST_WINDOWS) if not smoke else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, output = folder / "scene.tif", folder / "out.tif"
        write_scene(source, side)
        before = bare_s_per_mpx(window, repeats)
        taken = run([sys.executable, HERE / "timed.py", source, output], folder)
        bare = statistics.mean([before, bare_s_per_mpx(window, repeats)])
        told = json.loads(taken.output.splitlines()[-1])
        valid, errors, _ = cog_validate(output, strict=True)
        assert valid, errors
        size = output.stat().st_size
        raw = 16 * side * side * 4 * 2
        return {
            "side_px": side,
            "seconds": round(taken.seconds, 1),
            "bare_s": round(bare * side * side / 1e6, 1),
            "ratio": round(taken.seconds / (bare * side * side / 1e6), 3),
            "computed_px_per_px": round(told["network_px"] / side**2, 3),
            "stages_s": {stage: round(value, 1) for stage, value in told["stages"].items()},
            "assembly_mb_per_s": round(raw / 1e6 / told["stages"]["assemble"]),
            "peak_mib": round(taken.peak_mib),
            "output_mb": round(size / 1e6),
            "peak_disk_of_output": round(taken.peak_disk_mb * 1e6 / size, 2),
        }


def growth(runs: list[dict[str, Any]]) -> float | None:
    """The exponent with which time grows with the number of pixels."""
    if len(runs) < 2:
        return None
    sides, seconds = (np.log([one[key] for one in runs]) for key in ("side_px", "seconds"))
    return round(float(np.polyfit(2 * sides, seconds, 1)[0]), 3)


def measured_before(results: Path, same: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a kept result that has all this in common with what is to be measured; none where there is none."""
    path = results / "end_to_end.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return list(kept["runs"]) if same.items() <= kept.items() else []


def main() -> None:
    """Measure all sizes."""
    parser = arguments_of(__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="of the scenes, pixels")
    parser.add_argument("--add", action="store_true", help="to the sizes that this machine has measured before")
    arguments = parser.parse_args()
    sides = (64,) if arguments.smoke else arguments.sides
    card, spec = read_card(DEFAULT_MODEL), choose_engine()
    core = choose_core(card, spec, 4)
    same = {"machine": machine(), "model": DEFAULT_MODEL, "engine": str(spec), "core_px": core}
    runs = measured_before(arguments.results, same) if arguments.add else []
    runs = [one for one in runs if one["side_px"] not in sides]
    for side in sides:
        window = min(choose_core(card, spec, 4, (side, side)), side) + 2 * card.halo_px
        runs.append(measure(side, window, smoke=arguments.smoke))
        runs.sort(key=lambda one: int(one["side_px"]))
        content = {
            **same,
            "runs": runs,
            "growth": growth(runs),
            "peak_ratio_of_the_last_two": round(runs[-1]["peak_mib"] / runs[-2]["peak_mib"], 3) if runs[1:] else None,
        }
        # After each size: the largest takes long, and what is measured is kept. The command is one for all of them.
        measured = [one["side_px"] for one in runs]
        together = {**vars(arguments), "add": False, "sides": SIDES if measured == list(SIDES) else measured}
        keep("end_to_end", command_of(parser, Namespace(**together)), content, arguments.results)


if __name__ == "__main__":
    main()
