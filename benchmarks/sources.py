"""End to end from each kind of source, as a ratio to a local GeoTIFF of the same pixels.

    python benchmarks/sources.py [--side PIXELS] [--repeats NUMBER]

``geosr upscale`` runs in a process of its own, with the default model and chunks of 256 source pixels, from a local
GeoTIFF, from a ``.SAFE`` product (JPEG 2000 in tiles of 1024), from a COG over HTTP, and from a STAC Item whose COGs,
one a band, are read over HTTP. The server is on loopback, answers after 50 ms and gives 10 MB/s to all connections
together. The kinds take turns; the least of each counts. The network's own limit is the time that the bytes take that
were given. On two cores the defaults take about five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from machine import arguments_of, command_of, keep
from scenes import write_scene
from slow_server import SlowServer, slow_server

REPOSITORY = Path(__file__).parent.parent
BANDS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
LATENCY_S, BYTES_PER_S = 0.05, 10e6
CORE_PX = 256


def write_sources(folder: Path, side: int, address: str) -> dict[str, str]:
    """Each kind of source by name: its path, or its address below the server's."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.safe_product import write_safe

    local = folder / "scene.tif"
    write_scene(local, side)
    with rasterio.open(local) as raster:
        pixels, profile = raster.read(), raster.profile
    rasterio.shutil.copy(local, folder / "cog.tif", driver="COG", compress="DEFLATE", predictor="YES", blocksize=512)
    safe = write_safe(folder, pixels, baseline="02.14")
    write_item(folder, pixels, profile, address)
    return {
        "GeoTIFF": str(local),
        ".SAFE": str(safe),
        "COG over HTTP": f"{address}/cog.tif",
        "Item over HTTP": f"{address}/item.json",
    }


def write_item(folder: Path, pixels: np.ndarray, profile: dict[str, Any], address: str) -> None:
    """An Item in the form of Earth Search, with a COG per band."""
    assets = {}
    for number, (band, key) in enumerate(BANDS.items()):
        path = folder / f"{band}.tif"
        one = {**profile, "count": 1, "driver": "GTiff"}
        with rasterio.open(folder / "plain.tif", "w", **one) as raster:
            raster.write(pixels[number], 1)
        rasterio.shutil.copy(folder / "plain.tif", path, driver="COG", compress="DEFLATE", predictor="YES")
        assets[key] = {
            "href": f"{address}/{path.name}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data", "reflectance"],
            "eo:bands": [{"name": key}],
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": 0}],
            "proj:shape": [int(profile["height"]), int(profile["width"])],
            "proj:transform": list(profile["transform"])[:6],
        }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "scene",
        "collection": "sentinel-2-l2a",
        "geometry": None,
        "properties": {
            "datetime": "2023-08-15T10:00:31Z",
            "platform": "sentinel-2b",
            "proj:epsg": profile["crs"].to_epsg(),
        },
        "links": [],
        "assets": assets,
    }
    (folder / "item.json").write_text(json.dumps(item), encoding="utf-8")


def upscale(source: str, output: Path, model: str) -> dict[str, float]:
    """Run the command; its seconds by the clock and by processors, start-up included."""
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "geosr", "upscale", source, "-o", str(output), "--model", model]
    run = subprocess.run([*command, "--core", str(CORE_PX), "--quiet"], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, os.times()
    if run.returncode:
        sys.exit(run.stderr)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu_s": cpu}


def measure(side: int, repeats: int, models: Sequence[str]) -> list[dict[str, Any]]:
    """A row per model and kind of source."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with slow_server(folder, latency_s=LATENCY_S, bytes_per_s=BYTES_PER_S) as server:
            sources = write_sources(folder, side, server.address)
            for model in models:
                rows += compare(sources, model, repeats, server, folder)
    return rows


def compare(
    sources: dict[str, str], model: str, repeats: int, server: SlowServer, folder: Path
) -> list[dict[str, Any]]:
    """All kinds of source with one model, in turns."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(repeats):
        for kind, source in sources.items():
            server.reset()
            output = folder / "out.tif"
            took: dict[str, Any] = upscale(source, output, model)
            took |= {"requests": server.requests, "mb": server.given / 1e6, "network_s": server.given / BYTES_PER_S}
            output.unlink()
            output.with_suffix(".json").unlink()
            if kind not in best or took["seconds"] < best[kind]["seconds"]:
                best[kind] = took
    local = best["GeoTIFF"]
    return [
        {
            "model": model,
            "source": kind,
            **{name: round(value, 2) for name, value in took.items()},
            "ratio": round(took["seconds"] / local["seconds"], 2),
            "cpu_ratio": round(took["cpu_s"] / local["cpu_s"], 2),
        }
        for kind, took in best.items()
    ]


def main() -> None:
    """Measure and keep."""
    parser: argparse.ArgumentParser = arguments_of(__doc__)
    parser.add_argument("--side", type=int, default=1024, metavar="PIXELS", help="of the scene")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    side, repeats = (64, 1) if arguments.smoke else (arguments.side, arguments.repeats)
    models = ["bicubic"] if arguments.smoke else ["rgbn-x4", "bicubic"]
    rows = measure(side, repeats, models)
    content = {"side": side, "repeats": repeats, "latency_ms": 1000 * LATENCY_S, "mb_per_s": BYTES_PER_S / 1e6}
    keep("sources", command_of(parser, arguments), {**content, "rows": rows}, arguments.results)


if __name__ == "__main__":
    main()
