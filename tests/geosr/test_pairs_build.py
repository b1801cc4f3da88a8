"""`geosr pairs build`, from files and from a STAC API: what a set holds, and that a killed build leaves its bytes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from pystac.validation import validate_dict
from safetensors.numpy import load_file

from catalog import SourceError
from geosr.errors import ExistsError, PairsError, ResumeError
from geosr.pairs.build import BuildRequest, Built, build
from geosr.pairs.config import read_config
from geosr.pairs.sources import find_matches
from tests.conftest import call_geosr, run_geosr
from tests.pair_scenes import GAIN, LEFT, OFFSET, SHIFT, TOP, dn, two_sensors, write_config, write_hr_item, write_pair
from tests.stac_items import serve, write_item
from tests.warm import WarmProcess


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a set."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def make(config: Path, output: Path, **options) -> Built:
    return build(BuildRequest(read_config(config), config.parent, output, **options))


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    """A folder with both rasters and a configuration."""
    import rasterio

    from tests.conftest import SAMPLE

    folder = tmp_path_factory.mktemp("ground")
    with rasterio.open(SAMPLE) as raster:
        write_pair(folder, *two_sensors(raster.read()))
    write_config(folder / "pairs.yaml")
    return folder


@pytest.fixture(scope="module")
def built(ground, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("built") / "set"
    make(ground / "pairs.yaml", output)
    return output


def test_a_set_holds_aligned_patches_in_lrs_radiometry(built, ground):
    index = json.loads((built / "index.json").read_text())
    about, features = index["geosr:pair_set"], index["features"]
    assert len(features) >= 8
    assert about["matches"][0]["lr"]["id"] == "lr"
    assert about["matches"][0]["hr"]["sources"] == [str(ground / "hr.tif")]
    shards = {name: load_file(built / name) for name in {one["assets"]["patch"]["href"] for one in features}}
    for feature in features:
        properties = feature["properties"]
        assert properties["geosr:shift_px"] == pytest.approx(SHIFT, abs=0.05)
        assert np.hypot(*properties["geosr:residual_px"]) < 0.1
        assert min(properties["geosr:correlation"]) > 0.97
        assert min(np.subtract(properties["geosr:correlation"], properties["geosr:correlation_before"])) > 0
        assert properties["geosr:gain"] == pytest.approx([GAIN] * 4, rel=0.05)
        assert properties["geosr:offset"] == pytest.approx([OFFSET] * 4, abs=0.006)
        shard, place = shards[feature["assets"]["patch"]["href"]], properties["geosr:patch"]
        lr, hr = (shard[name][place] * about["dn"]["scale"] + about["dn"]["offset"] for name in ("lr", "hr"))
        assert hr.shape == (4, 96, 96)
        whole = shard["valid"][place] > 0
        blocks = hr.reshape(4, 24, 4, 24, 4).mean(axis=(2, 4))
        for low, high in zip(lr[:, whole], blocks[:, whole], strict=True):
            assert low.mean() == pytest.approx(high.mean(), abs=0.004)


def test_entries_of_the_index_are_items(built):
    (feature, *_) = json.loads((built / "index.json").read_text())["features"]
    # What STAC asks of a date, these rasters do not have.
    dated = {**feature, "properties": {**feature["properties"], "datetime": "2023-08-15T10:00:31Z"}}
    assert len(validate_dict(dated, extensions=[])) == 1
    assert feature["properties"]["proj:code"] == "EPSG:32633"
    assert feature["properties"]["proj:shape"] == [24, 24]


def test_the_report_says_what_was_left_out_and_draws_it(built):
    report = json.loads((built / "report.json").read_text())
    patches = report["patches"]
    assert patches["looked_at"] == 9
    assert patches["kept"] + sum(patches["rejected"].values()) == 9
    kept = report["kept"]
    assert kept["shift_before_px"]["median"] == pytest.approx(np.hypot(*SHIFT), abs=0.03)
    assert kept["shift_after_px"]["p95"] < 0.1
    page = (built / "report.html").read_text()
    # Shifts, correlations, reasons, one map, three patches.
    assert page.count('<img src="data:image/png') == 7
    assert "http" not in page


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_who_computes(ground, tmp_path):
    config = write_config(ground / "few.yaml", patch_lr_px=37)
    make(config, tmp_path / "threads")
    make(config, tmp_path / "processes", workers=1)
    assert contents(tmp_path / "processes") == contents(tmp_path / "threads")


def test_a_finished_set_is_not_made_again_and_another_not_replaced_unasked(built, ground, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}
    assert make(ground / "pairs.yaml", built).kept >= 8
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()} == before
    other = write_config(ground / "other.yaml", screening={"min_valid": 0.95})
    with pytest.raises(ExistsError, match="--overwrite"):
        make(other, built)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("mine")
    with pytest.raises(ExistsError, match="other files"):
        make(other, notes)
    assert contents(notes) == {"mine.txt": b"mine"}


def test_an_unfinished_build_of_other_settings_is_kept_until_told(ground, tmp_path):
    work = tmp_path / "set" / "work"
    work.mkdir(parents=True)
    (work / "identity").write_text("another")
    # As a kill in the middle of writing leaves it.
    (tmp_path / "set" / ".report.html.part").write_text("half")
    with pytest.raises(ResumeError, match="--restart"):
        make(ground / "pairs.yaml", tmp_path / "set")
    assert (work / "identity").read_text() == "another"


def test_imagery_that_does_not_fit_is_refused_in_one_line(ground, tmp_path, capsys):
    config = write_config(ground / "missing.yaml", hr={"sources": ["nowhere/*.tif"]})
    assert call_geosr("pairs", "build", config, "--output", tmp_path / "set") == 1
    said = capsys.readouterr().err
    assert said.startswith("geosr: no imagery matches nowhere/*.tif")
    assert said.count("\n") == 1
    assert not (tmp_path / "set").exists()
    with pytest.raises(PairsError, match="smaller patch_lr_px"):
        make(write_config(ground / "large.yaml", patch_lr_px=80), tmp_path / "set")


@pytest.fixture
def stac(tmp_path, sample):
    """A STAC API with a Sentinel-2 Item, part of it under clouds, and an aerial Item of another collection."""
    lr, hr = two_sensors(sample)
    classes = np.full((38, 38), 4, np.uint8)
    classes[:6, :8] = 9
    items = [
        write_item(tmp_path / "items", "S2", dn(lr), left=LEFT, top=TOP, scl=classes, datetime="2023-08-15T10:00:31Z"),
        write_item(tmp_path / "items", "late", dn(lr), left=LEFT, top=TOP, datetime="2023-09-14T10:00:31Z"),
        write_hr_item(tmp_path / "items", "aerial", hr, "2023-08-14T15:00:00Z"),
    ]
    with serve(tmp_path / "items", *items) as api:
        search = {"api": api, "bbox": [12.2, 48.6, 12.4, 48.8], "datetime": "2023-08/2023-09"}
        assets = {band: {"asset": "image", "band": i} for i, band in enumerate(("B04", "B03", "B02", "B08"), start=1)}
        yield write_config(
            tmp_path / "pairs.yaml",
            lr={"search": search},
            hr={"search": {**search, "collection": "aerial"}, "assets": assets, "scale": 1e-4, "offset": 0.0},
            screening={"min_valid": 0.7},
        )


def command(config: Path, output: Path) -> list[str]:
    return ["pairs", "build", str(config), "--output", str(output), "--quiet"]


def kill_when(config: Path, output: Path, units: int) -> int:
    """Start a build, and kill it when so many units are finished; how many were in the end."""
    process = WarmProcess("geosr", *command(config, output))
    deadline = time.monotonic() + 200
    while len(list((output / "work").glob("*/*.json"))) < units:
        assert process.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return len(list((output / "work").glob("*/*.json")))


@pytest.mark.slow
def test_a_build_from_a_stac_api_killed_in_the_middle_leaves_the_bytes_of_an_undisturbed_one(stac, tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    # There are 9 blocks, of which each is two units: patches are being made.
    assert kill_when(stac, killed, 11) < 18
    assert not (killed / "index.json").exists()
    assert run_geosr(*command(stac, killed)).returncode == 0
    make(stac, undisturbed)
    assert contents(killed) == contents(undisturbed)
    index = json.loads((killed / "index.json").read_text())
    (match,) = index["geosr:pair_set"]["matches"]
    assert (match["lr"]["id"], match["hr"]["id"]) == ("S2", "aerial")
    assert match["days"] == pytest.approx(0.79, abs=0.01)
    assert len(index["features"]) >= 7
    # The block under the cloud is not among them.
    assert json.loads((killed / "report.json").read_text())["patches"]["rejected"]["masked"] >= 1
    assert "000-00000-00000" not in [feature["id"] for feature in index["features"]]
    assert index["features"][0]["properties"]["geosr:gain"] == pytest.approx([GAIN] * 4, rel=0.08)


def test_items_of_a_set_are_judged_as_other_sources_are(tmp_path, sample):
    lr, hr = two_sensors(sample)
    write_pair(tmp_path, lr, hr)
    write_hr_item(tmp_path, "one", hr, "2023-08-15T10:00:31Z")
    bands = {name: {"asset": "image", "band": i} for i, name in ((1, "B04"), (2, "B03"), (3, "B02"), (4, "B08"))}
    item = {"sources": ["one.json"], "scale": 1e-4, "offset": 0, "assets": bands}
    assert len(find_matches(read_config(write_config(tmp_path / "a.yaml", hr=item)), tmp_path)) == 1
    for wrong, advice in (({"scale": 1.0}, "give scale: 0.0001"), ({"offset": -1000}, "give offset: -0.1")):
        config = read_config(write_config(tmp_path / "b.yaml", hr={**item, **wrong}))
        with pytest.raises(SourceError, match=advice):
            find_matches(config, tmp_path)
