"""Judges of a model that need no simulator, on real Sentinel-2.

    python benchmarks/real.py MODEL --data DATA [--only scene,dates] [--json FILE]

MODEL is a shipped model's name, a card (.json), `backprojection:STEPS`, or `FILE.py:FUNCTION`, a function from
reflectance (bands, rows, cols) of the bands named by `BANDS` in that file to reflectance four times finer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from pathlib import Path

import torch

from catalog.sentinel2 import BANDS as SENTINEL2
from geosr.errors import UsageError
from geosr.evaluate.real.judge import JUDGES
from geosr.evaluate.real.subject import Subject, interpolation, subject_of, torch_bicubic


def read_subject(name: str) -> Subject:
    """A model by what the command line says."""
    if name.startswith("backprojection:"):
        return interpolation(name, subject_of("bicubic"), int(name.split(":")[1]))
    if name == "torch-bicubic":
        return torch_bicubic(subject_of("bicubic"))
    path, _, function = name.rpartition(":")
    if not path.endswith(".py"):
        return subject_of(name)
    spec = importlib.util.spec_from_file_location("judged", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    transfers = {one: SENTINEL2[one].mtf_nyquist or 0.26 for one in module.BANDS}
    upscale = getattr(module, function)
    return Subject(Path(path).stem, tuple(module.BANDS), upscale, transfers, upscale)


def main() -> None:
    """Print one figure a line, as soon as its judge is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--only", default=",".join(JUDGES), help="judges, separated by commas: %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    subject = read_subject(arguments.model)
    found: dict[str, float] = {}
    for name in arguments.only.split(","):
        began = time.perf_counter()
        figures = JUDGES[name](subject, arguments.data)
        print(f"# {name}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
        for title, value in figures.items():
            print(f"{title:45s} {value:10.5g}", flush=True)
        found |= figures
    if arguments.json:
        text = json.dumps({k: round(v, 6) if math.isfinite(v) else None for k, v in found.items()}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
