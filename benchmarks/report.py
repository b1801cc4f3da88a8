"""Makes ``docs/benchmarks.md`` of the kept results.

python benchmarks/report.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report_quality
import report_speed
from machine import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


#: The page's sections in order, by the names of their results.
_SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "fidelity": report_quality.fidelity,
    "ten_bands": report_quality.ten_bands,
    "uncertainty": report_quality.uncertainty,
    "change": report_quality.change,
    "fields": report_quality.fields,
    "peers": report_quality.peers,
    "end_to_end": report_speed.end_to_end,
    "sources": report_speed.sources,
    "engines": report_speed.engines,
    "precision": report_quality.precision,
    "sharpness": report_quality.sharpness,
    "registration": report_quality.registration,
    "usual": report_speed.usual,
    "scaling": report_speed.scaling,
    "startup": report_speed.startup,
    "service": report_speed.service,
    "ablation": report_quality.ablation,
    "adaptation": report_quality.adaptation,
}


def page(results: Path) -> str:
    """The page's text."""
    parts = [
        "# Benchmarks",
        "Written by `python benchmarks/report.py` from `benchmarks/results`. Each section names the command that measured it "
        "and the machine that it ran on. `DATA` is a folder with imagery that is not part of the repository (`NOTICE` names its "
        "sources). Terms are in the [glossary](glossary.md). Most sections were measured with `rgbn-x4-0.1`, the default model of "
        "version 0.1. More figures of the present default, `rgbn-x4`, are on its card (`geosr models rgbn-x4`) and in "
        "[training](training.md#the-runs).",
        *(section(_read(path)) for name, section in _SECTIONS.items() if (path := results / f"{name}.json").exists()),
    ]
    return "\n\n".join(parts) + "\n"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def main() -> None:
    """Make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="where the page goes")
    arguments = parser.parse_args()
    arguments.page.write_text(page(arguments.results), encoding="utf-8")
    print(f"wrote {arguments.page}")


if __name__ == "__main__":
    main()
