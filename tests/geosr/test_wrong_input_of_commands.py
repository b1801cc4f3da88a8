"""Wrong input to every command that reads rasters: one line, an exit code, no traceback, and nothing left behind."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from rasterio.transform import from_origin

from tests.conftest import run_here, write_raster

#: A line that a user reads, of each command with a good source and a good output.
COMMANDS = {
    "batch": ["{source}", "-o", "{output}", "-q"],
    "change": ["{source}", "good.tif", "-o", "{output}.tif", "-q"],
    "compare": ["{source}", "good.tif", "-o", "{output}.html"],
    "cube": ["{source}", "-o", "{output}.nc", "-q"],
    "fields": ["{source}", "--fields", "fields.geojson", "-o", "{output}.csv", "-q"],
    "image": ["{source}", "-o", "{output}.tif", "-q"],
    "preview": ["{source}", "-o", "{output}.png"],
    "video": ["{source}", "-o", "{output}.mp4", "-q"],
}

#: Commands whose product may not be in the place of a raster that is named .tif.
OVER_SOURCE = ("batch", "change", "image")


@pytest.fixture
def folder(tmp_path, sample):
    """A good raster, half of one, a text that is called one, and fields."""
    transform = from_origin(359130, 5352340, 10, 10)
    good = write_raster(tmp_path / "good.tif", sample[:, :40, :40], nodata=0, scale=1e-4, transform=transform)
    content = good.read_bytes()
    (tmp_path / "half.tif").write_bytes(content[: len(content) // 2])
    write_raster(tmp_path / "rgb.tif", sample[:3, :40, :40].astype(np.uint8), names=(), crs=None)
    (tmp_path / "text.tif").write_text("no raster")
    ring = "[[13.1,48.3],[13.2,48.3],[13.2,48.4],[13.1,48.3]]"
    (tmp_path / "fields.geojson").write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')
    return tmp_path


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refuse(folder, command, source="good.tif", output="out", *more):
    """Run a command that has to fail in one line; return the line."""
    before = tree(folder)
    arguments = [word.format(source=source, output=output) for word in COMMANDS[command]]
    done = run_here(command, *arguments, *more, cwd=folder)
    assert done.returncode in (1, 2), (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    left = tree(folder)
    if command == "batch" and (folder / "out").is_dir():
        # Each scene is refused by itself, and the summary says why.
        assert {path.name for path in (folder / "out").iterdir()} <= {
            *("collection.json", "summary.json", "summary.html", ".geosr-batch"),
        }
        left = {name: content for name, content in left.items() if not name.startswith("out")}
        (outcome,) = json.loads((folder / "out" / "summary.json").read_text())["outcomes"]
        line = outcome["reason"]
        shutil.rmtree(folder / "out")
    else:
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("geosr: ")
        assert done.stdout == ""
        line = lines[0]
    assert left == before
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_raster_is_refused(folder, command):
    assert "nowhere.tif" in refuse(folder, command, "nowhere.tif")
    assert "text.tif" in refuse(folder, command, "text.tif")
    assert "half.tif" in refuse(folder, command, "half.tif")


@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_that_cannot_be_are_refused(folder, command):
    source = "rgb.tif" if command == "image" else "good.tif"
    # A batch makes the folders of its output.
    if command != "batch":
        assert "missing" in refuse(folder, command, source, "missing/out")
    assert "frobnicate" in refuse(folder, command, source, "out", "--frobnicate")
    if command in OVER_SOURCE:
        refuse(folder, command, source, "." if command == "batch" else source.removesuffix(".tif"), "--overwrite")
