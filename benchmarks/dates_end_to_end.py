"""Several dates end to end over HTTP, as a ratio to one date: time, processor time and memory.

    python benchmarks/dates_end_to_end.py [--side PIXELS] [--repeats NUMBER] [--dates NUMBER]

``rustac serve`` answers the search, for Items whose COGs, one a band, are read over HTTP from a server on loopback that
answers after 50 ms and gives 10 MB/s to all connections together. The dates are the bundled sample, repeated, shifted
by up to 0.6 pixels and with noise of 10 DN. One date and several take turns; medians count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from machine import arguments_of, command_of, keep
from scenes import write_scene
from scipy import ndimage
from slow_server import slow_server

REPOSITORY = Path(__file__).parent.parent
LATENCY_S, BYTES_PER_S = 0.05, 10e6
SHIFT_PX, NOISE_DN = 0.6, 10.0
DAYS = [f"2023-08-{day:02d}" for day in (5, 10, 15, 20, 25, 30)]


def write_dates(folder: Path, side: int, address: str) -> list[Path]:
    """Items of as many dates as there are days, whose pixels have addresses below the server's."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.stac_items import write_item

    write_scene(folder / "scene.tif", side)
    with rasterio.open(folder / "scene.tif") as raster:
        pixels = raster.read().astype(np.float32)
    rng = np.random.default_rng(0)
    items = []
    for number, day in enumerate(DAYS):
        shift = rng.uniform(-SHIFT_PX, SHIFT_PX, 2) if number else (0.0, 0.0)
        moved = np.stack([ndimage.shift(band, shift, order=3, mode="nearest") for band in pixels])
        dn = np.rint((moved + rng.normal(0, NOISE_DN, moved.shape)).clip(1, 65535)).astype(np.uint16)
        item = write_item(folder, f"S2_{day}", dn, datetime=f"{day}T10:00:31Z", clouds=float(number))
        for path in folder.glob(f"S2_{day}_*.tif"):
            rasterio.shutil.copy(path, folder / "cog.tif", driver="COG", compress="DEFLATE", predictor="YES")
            (folder / "cog.tif").replace(path)
        item.write_text(item.read_text().replace(folder.as_uri(), address))
        items.append(item)
    return items


def upscale(search: list[str], output: Path, model: str) -> dict[str, float]:
    """Run the command: its seconds by the clock and by processors, and its largest resident memory, MB."""
    command = [sys.executable, "-m", "geosr", "upscale", *search, "-o", str(output), "--model", model, "--quiet"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("the command failed")
    output.unlink()
    output.with_suffix(".json").unlink()
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1000}


def measure(side: int, repeats: int, dates: int, model: str) -> dict[str, Any]:
    """Medians of one date and of several, and their ratios."""
    from tests.stac_items import serve

    taken: dict[str, list[dict[str, float]]] = {"one": [], "several": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with slow_server(folder, latency_s=LATENCY_S, bytes_per_s=BYTES_PER_S) as server:
            items = write_dates(folder, side, server.address)
            with serve(folder, *items) as api:
                box = ",".join(map(str, json.loads(items[0].read_text())["bbox"]))
                search = ["--bbox", box, "--api", api, "--core", str(side // 2)]
                for _ in range(repeats):
                    taken["one"].append(upscale([*search, "--datetime", DAYS[0]], folder / "one.tif", model))
                    several = ["--datetime", "2023-08", "--dates", str(dates), "--reference", DAYS[0]]
                    taken["several"].append(upscale([*search, *several], folder / "several.tif", model))
                    print({name: runs[-1] for name, runs in taken.items()}, flush=True)
    medians = {
        name: {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        for name, runs in taken.items()
    }
    ratios = {key: round(medians["several"][key] / medians["one"][key], 2) for key in medians["one"]}
    return {"dates": dates, "side": side, "model": model, **medians, "ratio": ratios}


def main() -> None:
    """Measure and keep."""
    parser = arguments_of(__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dates", type=int, default=4)
    parser.add_argument("--model", default="rgbn-x4")
    arguments = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    side, repeats = (128, 1) if arguments.smoke else (arguments.side, arguments.repeats)
    found = measure(side, repeats, arguments.dates, arguments.model)
    print(found)
    keep("dates_end_to_end", command_of(parser, arguments), found, arguments.results)


if __name__ == "__main__":
    main()
