"""Write the table of trials into ``docs/reliability.md`` from ``benchmarks/results/trials``.

    python -m scripts.reliability

The results are those that ``scripts/fuzz.py`` and ``scripts/soak.py`` write with ``--output``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.fuzz_kinds import KINDS
from scripts.soak import TRIALS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "benchmarks" / "results" / "trials"

_MARKERS = re.compile(r"(<!-- trials -->\n).*(<!-- /trials -->)", re.DOTALL)


def put(page: str, results: Path) -> str:
    """Replace the table in the page's text."""
    fuzz, soak = (
        [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob(f"{name}_*.json"))]
        for name in ("fuzz", "soak")
    )
    commands = ", ".join(f"`{one['command']}`" for one in fuzz)
    lines = [
        f"Mutated inputs: {sum(one['tried'] for one in fuzz)} of {len(KINDS)} kinds, by {commands}.",
        "",
        "| tried | how many | survived | command |",
        "|---|---|---|---|",
        *_mutated(fuzz),
        *map(_trial, soak),
        "",
        *_measured(soak),
        "Not survived when it was tried:",
        "",
        *(f"- `{one['case']}`: {one['verdict']}, {one['why']}" for run in fuzz for one in run["not_survived"]),
        *(f"- `{run['command']}`: {fault}" for run in soak for fault in run["not_survived"]),
    ]
    return _MARKERS.sub(lambda found: found[1] + "\n".join(["", *lines, "", found[2]]), page)


def _mutated(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Row of each kind of input, over all runs."""
    for name, make in KINDS.items():
        count = Counter[str]()
        for run in runs:
            count.update(run["kinds"][name])
        refused, right = count["refused"], count["right"]
        yield (
            f"| {_first_line(make)} | {count['tried']} | {refused + right} ({refused} refused, {right} right) "
            f'| `python -m scripts.fuzz --kinds "{name}"` |'
        )


def _trial(run: dict[str, Any]) -> str:
    """Row of one soak."""
    kinds = Counter[str]()
    for kind, count in run["tried"].items():
        kinds[kind.partition(",")[0]] += count
    total = kinds.total()
    parts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    name = run["command"].split()[3]
    return (
        f"| {_first_line(TRIALS[name])} | {total} ({parts}) | {total - len(run['not_survived'])} | `{run['command']}` |"
    )


def _measured(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Figures of the trials that have some, as a list."""
    for run in runs:
        if run.get("figures"):
            figures = "; ".join(f"{name}: {value}" for name, value in run["figures"].items())
            yield from (f"Measured by `{run['command']}`: {figures}.", "")


def _first_line(function: object) -> str:
    return (function.__doc__ or "").partition("\n")[0].rstrip(".")


def main() -> None:
    """Put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="results of the trials")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="the page to put the table into")
    arguments = parser.parse_args()
    text = put(arguments.page.read_text(encoding="utf-8"), arguments.results)
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
