"""Peak resident memory of ``geosr upscale`` over scenes of two sizes: it must not grow with the scene.

    python benchmarks/memory.py

The scenes are the bundled sample, repeated, 4 bands of uint16; the larger has twice the area of the smaller.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import rasterio
from machine import keep
from rasterio.windows import Window

SAMPLE = Path(__file__).parent.parent / "geosr" / "data" / "sample.tif"


def write_scene(path: Path, side: int) -> None:
    """A square scene, written strip by strip."""
    with rasterio.open(SAMPLE) as sample:
        pixels, profile = sample.read(), sample.profile
        profile.update(
            width=side, height=side, compress="zstd", zstd_level=1, tiled=True, blockxsize=512, blockysize=512
        )
        with rasterio.open(path, "w", **profile) as raster:
            raster.descriptions = sample.descriptions
            raster.scales = sample.scales
            repeats = math.ceil(side / pixels.shape[2])
            strip = np.tile(pixels, (1, 1, repeats))[:, :, :side]
            for top in range(0, side, strip.shape[1]):
                height = min(strip.shape[1], side - top)
                raster.write(strip[:, :height], window=Window(0, top, side, height))


def measure(source: Path, output: Path, options: list[str]) -> tuple[float, float]:
    """Seconds, and the highest sum of resident memory over the command and its children, MiB."""
    began = time.monotonic()
    command = [sys.executable, "-m", "geosr", "upscale", str(source), "-o", str(output), "-q", *options]
    process = psutil.Popen(command)
    peak = 0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in family))
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - began, peak / 2**20


def main() -> None:
    """Measure both scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=5490, help="side of the larger scene, pixels")
    parser.add_argument("--model", default="rgbn-x4")
    arguments = parser.parse_args()
    runs = []
    for side in (round(arguments.side / math.sqrt(2)), arguments.side):
        with tempfile.TemporaryDirectory() as folder:
            source, output = Path(folder) / "scene.tif", Path(folder) / "out.tif"
            write_scene(source, side)
            seconds, peak = measure(source, output, ["--model", arguments.model])
            runs.append(
                {
                    "side_px": side,
                    "seconds": round(seconds, 1),
                    "peak_mib": round(peak),
                    "output_mb": round(output.stat().st_size / 1e6),
                }
            )
    ratio = runs[1]["peak_mib"] / runs[0]["peak_mib"]
    keep("memory", "python benchmarks/memory.py", {"model": arguments.model, "runs": runs, "ratio": round(ratio, 3)})


if __name__ == "__main__":
    main()
