"""Network plans of ``scripts/soak.py``: a server that fails as it was told, and a run that reads from it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import rasterio

from tests.conftest import SAMPLE
from tests.faults.flaky_server import KINDS, Flaky, flaky_server
from tests.stac_items import write_item


def network(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Items and rasters from a server with one to eight faults in a row."""
    chance = random.Random(f"network {seed}")
    with rasterio.open(SAMPLE) as raster:
        dn = raster.read()[:, :64, :64]
    item = write_item(folder / "item", "one", dn)
    contents = {f"/{path.name}": path.read_bytes() for path in item.parent.iterdir()}
    with flaky_server() as flaky:
        described = json.loads(item.read_text())
        for asset in described["assets"].values():
            asset["href"] = flaky.url(Path(asset["href"]).name)
        contents["/one.json"] = json.dumps(described).encode()
        flaky.contents.update(contents)
        right = {source: _upscale(flaky, folder / f"right{i}.tif", source)[1] for i, source in enumerate(_SOURCES)}
        for number in range(count):
            source = chance.choice(_SOURCES)
            plan = [chance.choice((*KINDS, "", "")) for _ in range(chance.randrange(1, 9))]
            output = folder / f"{number}.tif"
            flaky.faults[:] = plan
            code, made, text = _upscale(flaky, output, source)
            flaky.faults.clear()
            kind, fault = "answered", ""
            if code != 0:
                kind = "given up, then finished"
                lines = [line for line in text.splitlines() if line.startswith("geosr: ")]
                if code != 1 or "internal error" in text or "Traceback" in text or not lines or output.exists():
                    fault = f"plan {plan}: exit code {code}, {text[-300:]!r}"
                else:
                    code, made, text = _upscale(flaky, output, source)
            if not fault and (code != 0 or made != right[source]):
                fault = f"plan {plan}: exit code {code}, other bytes: {made != right[source]}, {text[-200:]!r}"
            yield kind, fault


_SOURCES = ("one.json", "one_B02.tif")


def _upscale(flaky: Flaky, output: Path, source: str) -> tuple[int, bytes, str]:
    """Exit code, pixels and standard error of a run."""
    command = [sys.executable, "-m", "geosr", "upscale", flaky.url(source), "-o", str(output), "--model", "bicubic"]
    done = subprocess.run([*command, "--core", "32", "-q"], capture_output=True, text=True, check=False)
    made = b""
    if done.returncode == 0:
        with rasterio.open(output) as product:
            made = product.read().tobytes()
    return done.returncode, made, done.stderr
