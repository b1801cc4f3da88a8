"""Run the command on seeded mutations of its inputs, and name every one that it does not survive.

    python -m scripts.fuzz [--count 2000] [--seed 1] [--kinds "GeoTIFF,STAC Item"] [--output fuzz.json]
    python -m scripts.fuzz --case "GeoTIFF:1:17" --keep FOLDER

A case survives as ``refused``, with one line on standard error, no product and exit code 1 or 2, or as ``right``, with
a product that independent checks find right (:mod:`scripts.fuzz_checks`). Anything else is ``wrong`` pixels, a
``message`` that is none, a ``crash``, a ``hang`` (more than 20 s of processor time) or too much ``memory``. Each case
runs in a process of its own. The exit code is 1 if a case was not survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from scripts.children import Ended, load, said_in_one_line, start, wait
from scripts.fuzz_kinds import KINDS, Case, Inputs

#: Processor time of a case, and the memory that it may take beyond what is loaded.
_CPU_S = 20
_MEMORY_BYTES = 4 * 2**30

#: Seconds after which a case that waits for something is ended.
_WALL_S = 120


def run_case(inputs: Inputs, name: str, seed: int, number: int, folder: Path) -> dict[str, Any]:
    """Make and run one case in a folder of its own; returns its record."""
    chance = random.Random(f"{name} {seed} {number}")
    case = KINDS[name](inputs, folder, chance)
    before = {path.name for path in folder.iterdir()}
    limits = {resource.RLIMIT_AS: _MEMORY_BYTES, resource.RLIMIT_CPU: _CPU_S}
    ended = wait(start(case.arguments, folder, limits), folder, _WALL_S)
    verdict, why = _verdict(case, folder, before, ended)
    lines = ended.text.strip().splitlines()
    return {
        "case": f"{name}:{seed}:{number}",
        "mutation": case.mutation[:200],
        "verdict": verdict,
        "why": why,
        "message": lines[-1].replace(f"{folder}/", "")[:300] if lines else "",
        "cpu_s": round(ended.cpu_s, 2),
    }


def _verdict(case: Case, folder: Path, before: set[str], ended: Ended) -> tuple[str, str]:
    if ended.code is None:
        number = os.WTERMSIG(ended.status)
        return ("hang", "more than its time") if number in (9, 24) else ("crash", f"signal {number}")
    if ended.code == 0:
        fault = case.check(folder)
        return ("right", "") if fault is None else ("wrong", fault)
    if not said_in_one_line(ended):
        return "message", f"exit code {ended.code}"
    if "not enough memory" in ended.text:
        return "memory", "more than its memory"
    left = {path.name for path in folder.iterdir()} - before - {".stderr", ".stdout"}
    return ("refused", "") if not {"out.tif", "out.json", "set", "run"} & left else ("wrong", f"left {sorted(left)}")


def main() -> int:
    """Run the cases; 1 if one was not survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="cases of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS), help="names, with commas")
    parser.add_argument("--output", type=Path, help="JSON with counts and every case that was not survived")
    parser.add_argument("--case", help="KIND:SEED:NUMBER, one case alone")
    parser.add_argument("--keep", type=Path, help="folder in which a case alone leaves its files")
    given = parser.parse_args()
    kinds = [name.strip() for name in given.kinds.split(",")]
    cases = [(kinds[i % len(kinds)], given.seed, i // len(kinds)) for i in range(given.count)]
    if given.case:
        name, seed, number = given.case.rsplit(":", 2)
        cases = [(name, int(seed), int(number))]
    command = f"python -m scripts.fuzz --count {given.count} --seed {given.seed}"
    if kinds != list(KINDS):
        command += f' --kinds "{given.kinds}"'
    load()
    counts: dict[str, Counter[str]] = {}
    bad = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        inputs = Inputs(Path(temporary))
        for name, seed, number in cases:
            folder = given.keep or Path(temporary) / "case"
            folder.mkdir()
            record = run_case(inputs, name, seed, number, folder)
            counts.setdefault(name, Counter())[record["verdict"]] += 1
            if record["verdict"] not in ("refused", "right") or given.case:
                bad.append(record)
                print(json.dumps(record), flush=True)
            if given.keep is None:
                shutil.rmtree(folder, ignore_errors=True)
            if given.output is not None and sum(map(Counter.total, counts.values())) % 50 == 0:
                _write(given.output, command, counts, bad)
    if given.output is not None:
        _write(given.output, command, counts, bad)
    for name, count in counts.items():
        print(f"{name}: {count.total()} tried, {dict(count)}")
    return 1 if any(record["verdict"] not in ("refused", "right") for record in bad) else 0


def _write(path: Path, command: str, counts: dict[str, Counter[str]], bad: list[dict[str, Any]]) -> None:
    kinds = {name: {"tried": count.total(), **count} for name, count in counts.items()}
    tried = sum(map(Counter.total, counts.values()))
    content = {"command": command, "tried": tried, "kinds": kinds, "not_survived": bad}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
