"""Writes the sizing table of ``docs/scaling.md`` from what ``benchmarks/end_to_end.py`` measured.

    python scripts/sizing.py [--per-core-hour USD] [--per-gb-month USD]

Rates are those of the largest scene measured. Areas are covered by Sentinel-2's tiles, which lie 100 km apart and are
109.8 km wide: neighbours overlap, and what overlaps is counted twice, as it is when whole tiles are processed. Coasts
and borders cut tiles and add to their number. Prices are examples: put in your own.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scaling.md"
RESULT = ROOT / "benchmarks" / "results" / "end_to_end.json"

TILE_PX = 10_980
TILE_STEP_KM = 100.0

#: Name and square kilometres; land and inland water.
AREAS = (
    ("one tile", TILE_STEP_KM**2),
    ("Austria", 83_880),
    ("Kenya", 580_400),
    ("European Union", 4_225_000),
    ("Africa", 30_370_000),
)

_MARKERS = re.compile(r"(<!-- sizing -->\n).*(<!-- /sizing -->)", re.DOTALL)


def table(result: dict[str, Any], per_core_hour: float, per_gb_month: float) -> str:
    """The table, with where its rates come from."""
    run, machine = max(result["runs"], key=lambda one: one["side_px"]), result["machine"]
    pixels = run["side_px"] ** 2
    core_h_per_px = run["seconds"] * machine["cores"] / 3600 / pixels
    gb_per_px = run["output_mb"] / 1e3 / pixels
    # A tile's pixels serve the area between its neighbours' centres.
    px_per_km2 = TILE_PX**2 / TILE_STEP_KM**2
    rows = []
    for name, km2 in AREAS:
        tiles = math.ceil(km2 / TILE_STEP_KM**2)
        core_hours, gb = tiles * TILE_PX**2 * core_h_per_px, tiles * TILE_PX**2 * gb_per_px
        rows.append(
            f"| {name} | {km2:,.0f} | {tiles:,} | {core_hours:,.1f} | {gb / 1e3:,.3f} "
            f"| {core_hours * per_core_hour:,.2f} | {gb * per_gb_month:,.2f} |"
        )
    thousand = 1000 * px_per_km2
    lines = [
        f"Rates: `{result['command']}` over {run['side_px']} × {run['side_px']} pixels with `{result['model']}`, "
        f"{result['engine']}, on {machine['cores']} cores of an {machine['processor']} "
        f"(AVX-512 {'yes' if machine['avx512'] else 'no'}, AMX {'yes' if machine['amx'] else 'no'}): "
        f"{core_h_per_px * 1e6 * 3600:.1f} core-seconds and {gb_per_px * 1e9:.0f} MB of output per million pixels. "
        f"For 1000 km², overlaps of tiles included: {thousand * core_h_per_px:.2f} core-hours, "
        f"{thousand * gb_per_px:.1f} GB of output, {thousand * core_h_per_px * per_core_hour:.3f} USD of computing at "
        f"{per_core_hour} USD per core-hour, {thousand * gb_per_px * per_gb_month:.3f} USD a month of storage at "
        f"{per_gb_month} USD per GB. Prices are examples: "
        "`python scripts/sizing.py --per-core-hour … --per-gb-month …` puts in others.",
        "| area | km² | tiles | core-hours | output, TB | computing, USD | storage, USD a month |\n" + "|---" * 7 + "|",
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows) + "\n"


def main() -> None:
    """Put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-core-hour", type=float, default=0.04, metavar="USD")
    parser.add_argument("--per-gb-month", type=float, default=0.023, metavar="USD")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="the page to put the table into")
    arguments = parser.parse_args()
    made = table(json.loads(RESULT.read_text(encoding="utf-8")), arguments.per_core_hour, arguments.per_gb_month)
    text = arguments.page.read_text(encoding="utf-8")
    text = _MARKERS.sub(lambda found: f"{found[1]}{made}{found[2]}", text)
    arguments.page.write_text(text, encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
