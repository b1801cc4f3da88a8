"""Trials at length with kills, storage faults, network faults and an overloaded service; every product is compared.

    python -m scripts.soak kills --count 50 [--seed 1] [--output soak.json]
    python -m scripts.soak storage --count 60
    python -m scripts.soak network --count 40
    python -m scripts.soak service --seconds 3600

``kills``: a run is killed at random moments, up to three times, and finished: the bytes of an undisturbed run, and
nothing beside it. ``storage``: files that may not grow beyond a random size, and random changes of unfinished runs.
``network``: a server that answers with errors, breaks connections and sends half of what it was asked for. ``service``:
clients that ask for more than is allowed. The exit code is 1 if something was not survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from geosr.run.checkpoint import work_folder
from scripts import soak_network, soak_service
from scripts.children import load, run, said_in_one_line, start, wait
from scripts.mutations import mutate_bytes
from scripts.outcomes import Outcome
from tests.conftest import SAMPLE

#: A run of 16 chunks.
_ARGUMENTS = ["upscale", str(SAMPLE), "-o", "out.tif", "--core", "75", "-q"]


def kills(folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Runs that are killed one to three times at random moments; each kill is a trial."""
    chance, arguments = random.Random(f"kills {seed}"), [*_ARGUMENTS, "--model", "nearest"]
    undisturbed, seconds = _undisturbed(folder / "undisturbed", arguments)
    own, killed, number = folder / "own", 0, 0
    while killed < count:
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        moments = []
        for _ in range(chance.choice((1, 2, 3))):
            sign = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            child = start(arguments, own)
            time.sleep(chance.uniform(0, seconds))
            os.kill(child, sign)
            ended = wait(child, own, 300)
            if ended.code in (None, 130):
                moments.append(sign.name)
            if (own / "out.tif").exists() and (own / "out.tif").read_bytes() != undisturbed["out.tif"]:
                yield Outcome("kill", f"trial {number}: a product that is not whole is in place")
        number += 1
        fault = _finished(own, arguments, undisturbed)
        for name in moments:
            killed += 1
            yield Outcome(name, fault and f"trial {number}, {moments}: {fault}")


def storage(folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Files that may not grow beyond a size, and changed files of unfinished runs."""
    chance, arguments = random.Random(f"storage {seed}"), [*_ARGUMENTS, "--model", "bicubic"]
    undisturbed, seconds = _undisturbed(folder / "undisturbed", arguments)
    largest = len(undisturbed["out.tif"])
    for number in range(count):
        own = folder / "own"
        own.mkdir()
        kind, fault = chance.choice(("no room", "changed")), ""
        if kind == "no room":
            ended = run(arguments, own, {resource.RLIMIT_FSIZE: int(largest ** chance.uniform(0.3, 1.0))})
            if ended.code != 0 and (own / "out.tif").exists():
                fault = "left a product"
            elif ended.code != 0 and not said_in_one_line(ended):
                fault = f"said {ended.text[-300:]!r}"
        else:
            child = start(arguments, own)
            time.sleep(chance.uniform(seconds / 2, seconds))
            os.kill(child, signal.SIGKILL)
            wait(child, own, 300)
            files = sorted(path for path in work_folder(own / "out.tif").glob("*") if path.name != "lock")
            for path in chance.sample(files, min(len(files), chance.choice((1, 2, 5)))):
                path.write_bytes(mutate_bytes(path.read_bytes(), chance)[0])
        fault = fault or _finished(own, arguments, undisturbed)
        yield Outcome(kind, fault and f"trial {number}: {fault}")
        shutil.rmtree(own)


def _undisturbed(folder: Path, arguments: list[str]) -> tuple[dict[str, bytes], float]:
    """Files of an undisturbed run, and the seconds that it took."""
    folder.mkdir()
    begun = time.monotonic()
    ended = run(arguments, folder)
    if ended.code != 0:
        raise RuntimeError(f"the undisturbed run failed: {ended.text}")
    return _files(folder), time.monotonic() - begun


def _finished(folder: Path, arguments: list[str], undisturbed: dict[str, bytes]) -> str:
    """Finish a run; names what is wrong with what it leaves."""
    ended = run(arguments, folder)
    if ended.code != 0 and "--restart" in ended.text:
        # A manifest that was changed is another run's, as far as anyone can tell.
        ended = run([*arguments, "--restart"], folder)
    if ended.code != 0:
        return f"cannot be finished: {ended.text[-300:]}"
    files = _files(folder)
    if files != undisturbed:
        other = sorted(name for name in {*files, *undisturbed} if files.get(name) != undisturbed.get(name))
        return f"other bytes in {', '.join(other)}"
    return ""


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".stderr", ".stdout"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


#: By name.
TRIALS: dict[str, Callable[[Path, int, int], Iterator[Outcome]]] = {
    "kills": kills,
    "storage": storage,
    "network": soak_network.network,
    "service": soak_service.service,
}


def main() -> int:
    """Run the trials; 1 if something was not survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--count", type=int, default=50, help="trials")
    parser.add_argument("--seconds", type=int, default=3600, help="of service")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON with counts and what was not survived")
    given = parser.parse_args()
    load()
    tried: Counter[str] = Counter()
    bad: list[str] = []
    figures: dict[str, float] = {}
    begun = time.monotonic()
    option = "seconds" if given.trial == "service" else "count"
    amount = getattr(given, option)
    command = f"python -m scripts.soak {given.trial} --{option} {amount} --seed {given.seed}"
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for outcome in TRIALS[given.trial](Path(folder), amount, given.seed):
            tried[outcome.kind] += 1
            figures |= outcome.figures
            if outcome.fault:
                bad.append(f"{outcome.kind}: {outcome.fault}")
                print(bad[-1], flush=True)
            if given.output is not None:
                content = {"command": command, "tried": tried, "not_survived": bad, "figures": figures}
                content["seconds"] = round(time.monotonic() - begun)
                given.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{given.trial}: {tried.total()} tried, {dict(tried)}, {len(bad)} not survived, {figures}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
