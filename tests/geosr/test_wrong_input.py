"""Wrong input gives one line that says what was wrong and what to do, an exit code, and nothing left behind."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from rasterio.transform import Affine

from tests.conftest import SAMPLE, run_geosr, run_here, write_raster
from tests.safe_product import write_safe
from tests.stac_items import serve, write_item
from tiling import is_whole


def truncated(folder, sample):
    """Half a COG: its directory is whole, the pixels of later blocks are missing."""
    path = write_raster(folder / "whole.tif", np.tile(sample, (1, 3, 3)), nodata=0)
    rasterio.shutil.copy(path, folder / "in.tif", driver="COG", OVERVIEWS="NONE", BLOCKSIZE=128)
    path.unlink()
    content = (folder / "in.tif").read_bytes()
    (folder / "in.tif").write_bytes(content[: len(content) // 2])
    return folder / "in.tif"


def headless(folder, sample):
    """Half a TIFF whose directory is at its end."""
    path = write_raster(folder / "in.tif", np.tile(sample, (1, 3, 3)), compress="deflate", tiled=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def rotated(folder, sample):
    transform = Affine.translation(5e5, 5e6) @ Affine.rotation(20) @ Affine.scale(10, -10)
    return write_raster(folder / "in.tif", sample[:, :20, :20], transform=transform)


def plain(folder, sample, **options):
    return write_raster(folder / "in.tif", sample[:, :20, :20], **options)


def text_file(folder, sample):
    (folder / "in.tif").write_text("not a raster")
    return folder / "in.tif"


def broken_jp2(folder, sample):
    product = write_safe(folder, sample[:, :64, :64], baseline="05.11")
    for image in product.rglob("*_B03_10m.jp2"):
        content = image.read_bytes()
        image.write_bytes(content[:300] + bytes(len(content) - 300))
    return product


def plain_image(folder, sample):
    return write_raster(folder / "in.tif", np.full((3, 9, 9), 90, np.uint8), names=("red", "green", "blue"))


def floats(folder, sample):
    return write_raster(folder / "in.tif", sample[:, :20, :20].astype(np.float32))


def complex_numbers(folder, sample):
    return write_raster(folder / "in.tif", np.ones((4, 5, 5), np.complex64))


def json_list(folder, sample):
    (folder / "card.json").write_text("[1]")
    return SAMPLE


def empty_folder(folder, sample):
    (folder / "nothing.SAFE").mkdir()
    return folder / "nothing.SAFE"


def bad_json(folder, sample):
    (folder / "item.json").write_text('{"type": "Feature", "id": "x"}')
    return folder / "item.json"


def item_without_bands(folder, sample):
    path = write_item(folder, "one", sample[:, :9, :9])
    path.write_text(path.read_text().replace('"nir"', '"swir9"').replace("nir", "swir9"))
    return path


#: Name of the case, how to make the source, more options, what the line says, exit code.
CASES = [
    ("missing file", lambda f, s: f / "nowhere.tif", [], "does not exist", 1),
    ("text file", text_file, [], "not a raster", 1),
    ("truncated TIFF", truncated, ["--model", "bicubic"], "damaged or incomplete", 1),
    ("TIFF without directory", headless, [], "not a raster that can be read", 1),
    ("wrong band count", lambda f, s: plain(f, s[:3], names=("B02", "B03", "B04")), [], "no B08", 1),
    ("unnamed bands", lambda f, s: plain(f, s, names=()), [], "--bands", 1),
    ("unknown band names", lambda f, s: plain(f, s, names=("a", "b", "c", "d")), [], "--bands", 1),
    (
        "wrong --bands",
        lambda f, s: plain(f, s, names=()),
        ["--bands", "B02,B03,B04,infra"],
        "unknown band name infra",
        1,
    ),
    ("no CRS", lambda f, s: plain(f, s, crs=None), [], "no CRS", 1),
    (
        "area in a raster without CRS",
        lambda f, s: plain(f, s, crs=None),
        ["--plain-image", "--bbox", "14,47,15,48"],
        "no CRS",
        1,
    ),
    ("rotated grid", rotated, [], "rotated", 1),
    ("8-bit RGB map", plain_image, [], "--plain-image", 1),
    ("floats that are DN", floats, [], "0.0001", 1),
    ("complex numbers", complex_numbers, [], "complex", 1),
    ("unreadable JP2", broken_jp2, [], "not a raster that can be read", 1),
    ("folder without product", empty_folder, [], "not a .SAFE product", 1),
    ("broken Item", bad_json, [], "not a STAC Item", 1),
    ("Item without a band", item_without_bands, [], "no asset for band B08", 1),
    ("area outside", lambda f, s: SAMPLE, ["--bbox", "14,47,15,48"], "outside", 1),
    ("malformed box", lambda f, s: SAMPLE, ["--bbox", "14,47,15"], "four numbers", 2),
    ("box over the antimeridian", lambda f, s: SAMPLE, ["--bbox", "179,-17,-179,-16"], "antimeridian", 2),
    ("missing area file", lambda f, s: SAMPLE, ["--aoi", "nowhere.geojson"], "cannot read the area", 1),
    ("two areas", lambda f, s: SAMPLE, ["--bbox", "1,2,3,4", "--aoi", "x"], "not both", 2),
    ("dates and a source", lambda f, s: SAMPLE, ["--datetime", "2024"], "--datetime would search", 2),
    ("a search and a source", lambda f, s: SAMPLE, ["--api", "x", "--max-cloud", "5"], "--max-cloud and --api", 2),
    ("gaps of a raster", lambda f, s: SAMPLE, ["--fill"], "--fill would have no", 2),
    (
        "picture of a product",
        lambda f, s: write_safe(f, s[:, :64, :64], baseline="05.11"),
        ["--plain-image"],
        "--plain-image would have no",
        2,
    ),
    ("picture of an Item", lambda f, s: write_item(f, "one", s[:, :9, :9]), ["--plain-image"], "is a STAC Item", 2),
    ("clouds of a raster", lambda f, s: SAMPLE, ["--mask-clouds"], "no scene classification", 1),
    ("unknown model", lambda f, s: SAMPLE, ["--model", "magic"], "no model magic", 1),
    ("broken model card", lambda f, s: SAMPLE, ["--model", "nowhere.json"], "cannot read the model card", 1),
    ("unknown device", lambda f, s: SAMPLE, ["--device", "tpu"], "--device is auto or cpu or cuda", 2),
    ("unknown option", lambda f, s: SAMPLE, ["--frobnicate"], "No such option", 2),
    ("core of nothing", lambda f, s: SAMPLE, ["--core", "0"], "--core", 2),
    ("scale of nothing", lambda f, s: SAMPLE, ["--scale", "0"], "--scale cannot be 0", 2),
    ("scale that is no number", lambda f, s: SAMPLE, ["--scale", "nan"], "--scale is a finite number", 2),
    ("offset without end", lambda f, s: SAMPLE, ["--offset", "inf"], "--offset is a finite number", 2),
    ("no bands", lambda f, s: SAMPLE, ["--bands", ""], "--bands is empty", 2),
    ("no model", lambda f, s: SAMPLE, ["--model", ""], "--model is empty", 2),
    ("model card that is a list", json_list, ["--model", "card.json"], "is not a model card", 1),
    ("CRS that is none", lambda f, s: write_item(f, "one", s[:, :9, :9]), ["--crs", "EPSG:99999999"], "not a CRS", 2),
]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check(result: subprocess.CompletedProcess[str], message: str, code: int) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith("geosr: ")]
    expected = re.compile(r"geosr: |note: |\w+: B02|computed chunk |assembling$")
    others = [line for line in result.stderr.splitlines() if not expected.match(line)]
    assert result.returncode == code, result.stderr
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert others == []
    assert result.stdout == ""


@pytest.mark.parametrize(("name", "make", "options", "message", "code"), CASES, ids=[case[0] for case in CASES])
def test_wrong_input(tmp_path, sample, name, make, options, message, code):
    source = make(tmp_path, sample)
    (tmp_path / "results").mkdir()
    before = tree(tmp_path)
    result = run_here("upscale", source, "-o", tmp_path / "results" / "out.tif", "--core", 64, *options, cwd=tmp_path)
    check(result, message, code)
    assert tree(tmp_path) == before


def test_nothing_named(tmp_path):
    check(run_here("upscale", "-o", tmp_path / "out.tif"), "nothing to work on", 2)
    check(run_here("upscale", SAMPLE), "Missing option '--output'", 2)


@pytest.mark.parametrize(
    ("output", "message", "code"),
    [
        ("out.png", "name it .tif", 2),
        ("folder.tif", "is a folder", 2),
        ("missing/out.tif", "does not exist", 1),
        (300 * "x" + ".tif", "File name too long", 1),
        ("in.tif", "would replace the source", 1),
    ],
)
def test_outputs_that_cannot_be(tmp_path, sample, output, message, code):
    source = write_raster(tmp_path / "in.tif", sample[:, :20, :20])
    content = source.read_bytes()
    (tmp_path / "folder.tif").mkdir()
    before = tree(tmp_path)
    check(run_here("upscale", source, "-o", tmp_path / output, "--overwrite"), message, code)
    assert tree(tmp_path) == before
    assert source.read_bytes() == content


def test_an_output_does_not_replace_what_a_virtual_raster_reads(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :9, :9])
    rasterio.shutil.copy(source, tmp_path / "one.vrt", driver="VRT")
    rasterio.shutil.copy(tmp_path / "one.vrt", tmp_path / "two.vrt", driver="VRT")
    before = source.read_bytes()
    for name in (tmp_path / "one.vrt", tmp_path / "two.vrt", f"GTIFF_DIR:1:{source}"):
        check(run_here("upscale", name, "-o", source, "--overwrite"), "would replace the source", 1)
        assert source.read_bytes() == before


@contextmanager
def mounted(target: Path, options: str) -> Iterator[Path]:
    """A real file system of its own; the test is skipped where mounting is not allowed."""
    target.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(target)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_folder_that_cannot_be_written(tmp_path):
    with mounted(tmp_path / "readonly", "ro") as target:
        check(run_here("upscale", SAMPLE, "-o", target / "out.tif", "--model", "bicubic"), "Read-only file system", 1)


@pytest.mark.parametrize("size", ["1m", "6m", "12m"])
def test_a_full_disk_keeps_what_is_finished(tmp_path, size):
    """It fills up in the first chunk, in a later one, or at the mosaic; then there is room, and the run goes on."""
    with mounted(tmp_path / "small", f"size={size}") as target:
        command = ("upscale", SAMPLE, "-o", target / "out.tif", "--model", "bicubic", "--core", 100, "--json")
        result = run_here(*command)
        assert result.returncode == 1
        assert "no space left" in result.stderr.splitlines()[-1]
        kept = {path.stem for path in target.glob("out.tif.geosr/r*.tif")}
        assert not (target / "out.tif").exists()
        assert bool(kept) or tree(target) == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(target)], check=True)
        again = run_here(*command)
        assert json.loads(again.stdout)["computed"] == 9 - len(kept)
        assert is_whole(target / "out.tif")
        assert tree(target) == ["out.json", "out.tif"]


def test_a_source_of_nothing_but_nodata(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", np.zeros_like(sample[:, :30, :30]), nodata=0)
    before = tree(tmp_path)
    check(run_here("upscale", source, "-o", tmp_path / "out.tif"), "no valid pixel", 1)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--datetime", "2023-13-40"], "not a date", 2),
        (["--datetime", "2023-08-31/2023-08-01"], "ends before it begins", 2),
        (["--datetime", "2023-08"], "cannot reach a STAC API", 1),
    ],
)
@pytest.mark.parametrize("command", ["search", "upscale"])
def test_searches_that_cannot_be(tmp_path, options, message, code, command):
    output = ["-o", tmp_path / "out.tif"] if command == "upscale" else []
    result = run_here(command, "--bbox", "14,47,15,48", "--api", "http://127.0.0.1:9", *options, *output)
    check(result, message, code)
    assert tree(tmp_path) == []


def test_a_search_that_finds_nothing(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :9, :9])
    with serve(tmp_path, item) as api:
        before = tree(tmp_path)
        result = run_here(
            "upscale", "--bbox", "14,47,15,48", "--datetime", "2020", "--api", api, "-o", tmp_path / "out.tif"
        )
        check(result, "nothing found", 1)
        assert tree(tmp_path) == before


def test_pixels_that_a_server_does_not_give(tmp_path, sample):
    path = write_item(tmp_path, "one", sample[:, :9, :9])
    path.write_text(path.read_text().replace("file://", "http://127.0.0.1:9/"))
    result = run_here("upscale", path, "-o", tmp_path / "out.tif", GDAL_HTTP_MAX_RETRY="0")
    check(result, "127.0.0.1:9", 1)
    assert not (tmp_path / "out.tif").exists()


def test_wrong_settings_are_named():
    check(run_geosr("upscale", SAMPLE, "-o", "x.tif", GEOSR_CORE_PX="many"), "GEOSR_CORE_PX", 2)


def test_debug_shows_where(tmp_path):
    result = run_geosr("upscale", tmp_path / "nowhere.tif", "-o", tmp_path / "out.tif", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
