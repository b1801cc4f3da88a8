"""Runs the command on seeded mutations of its inputs, and names every one that it does not survive.

    python -m scripts.fuzz [--count 2000] [--seed 1] [--kinds "GeoTIFF,STAC Item"] [--output fuzz.json]
    python -m scripts.fuzz --case "GeoTIFF:1:17" --keep FOLDER

A case survives as ``refused``, with one line on standard error, no product and exit code 1 or 2, or as ``right``, with
a product that independent checks find right (:mod:`scripts.fuzz_checks`). Anything else is ``wrong`` pixels, a
``message`` that is none, a ``crash``, a ``hang`` (more than 20 s of processor time) or too much ``memory``. Each case
runs in a process of its own. The exit code is 1 if a case was not survived.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import geosr
from scripts.fuzz_kinds import KINDS, Case, Inputs

#: Processor time of a case, and the memory that it may take beyond what is loaded.
_CPU_S = 20
_MEMORY_BYTES = 4 * 2**30

#: Seconds after which a case that waits for something is ended.
_WALL_S = 120


def load() -> None:
    """Load once what cases need, so that their processes have it; but for what begins threads."""
    left_out = ("geosr.service", "geosr.__main__", "geosr.run.cluster", "geosr.pairs.execute")
    for module in pkgutil.walk_packages(geosr.__path__, "geosr."):
        if not module.name.startswith(left_out):
            importlib.import_module(module.name)


def run_case(inputs: Inputs, name: str, seed: int, number: int, folder: Path) -> dict[str, Any]:
    """Make and run one case in a folder of its own; returns its record."""
    chance = random.Random(f"{name} {seed} {number}")
    case = KINDS[name](inputs, folder, chance)
    before = {path.name for path in folder.iterdir()}
    status, usage = _in_child(case, folder)
    text = (folder / ".stderr").read_text(encoding="utf-8", errors="replace")
    verdict, why = _verdict(case, folder, before, status, text)
    lines = text.strip().splitlines()
    return {
        "case": f"{name}:{seed}:{number}",
        "mutation": case.mutation[:200],
        "verdict": verdict,
        "why": why,
        "message": lines[-1][:300] if lines else "",
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    }


def _in_child(case: Case, folder: Path) -> tuple[int, Any]:
    """Run the command in a process of its own: how it ended, and what it used."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.chdir(folder)
            output = os.open(".stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 2)
            os.dup2(os.open(".stdout", os.O_WRONLY | os.O_CREAT), 1)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES,) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S + 2))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            sys.argv = ["geosr", *case.arguments]
            geosr.cli.main.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + _WALL_S
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.005)


def _verdict(case: Case, folder: Path, before: set[str], status: int, text: str) -> tuple[str, str]:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hang", "more than its time") if number in (9, 24) else ("crash", f"signal {number}")
    code = os.WEXITSTATUS(status)
    if code == 0:
        fault = case.check(folder)
        return ("right", "") if fault is None else ("wrong", fault)
    lines = [line for line in text.splitlines() if line.startswith("geosr: ")]
    if "internal error" in text or "Traceback" in text or code not in (1, 2) or len(lines) != 1:
        return "message", f"exit code {code} with {len(lines)} lines"
    if "not enough memory" in text:
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
                _write(given.output, given.seed, counts, bad)
    if given.output is not None:
        _write(given.output, given.seed, counts, bad)
    for name, count in counts.items():
        print(f"{name}: {count.total()} tried, {dict(count)}")
    return 1 if any(record["verdict"] not in ("refused", "right") for record in bad) else 0


def _write(path: Path, seed: int, counts: dict[str, Counter[str]], bad: list[dict[str, Any]]) -> None:
    kinds = {name: {"tried": count.total(), **count} for name, count in counts.items()}
    tried = sum(map(Counter.total, counts.values()))
    content = {"seed": seed, "tried": tried, "kinds": kinds, "not_survived": bad}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
