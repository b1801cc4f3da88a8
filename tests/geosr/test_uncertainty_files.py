"""Files of half-widths and measured fraction: resumed, recognised, replaced only when they may be."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pystac
import pytest

from catalog import SceneRequest
from geosr.errors import ExistsError, ResumeError
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from tests.conftest import SAMPLE, assert_valid_item, run_geosr, write_raster
from tests.geosr.calibrated_model import (
    LEFT,
    outputs,
    request,
    tree_of,
)
from tests.geosr.test_resume import Recorder, leave_unfinished
from tests.geosr.test_wrong_input import mounted, tree
from tests.upscaling import upscale_request
from tests.warm import WarmProcess
from tiling import DiskFullError


def leave_earlier_version(options: UpscaleRequest) -> dict[str, bytes]:
    """Make the files of an earlier version, which called the measured fraction support."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geosr.run.uncertainty_layers.MEASURED", "support")
        super_resolve(options)
    left = outputs(Path(options.output).parent)
    assert sorted(left) == ["out.json", "out.tif", "out_support.tif", "out_uncertainty.tif"]
    return left


def test_a_product_of_an_earlier_version_is_recognised_and_left_as_it_is(tmp_path, source, model):
    left = leave_earlier_version(request(source, model))
    published = super_resolve(request(source, model))
    assert published.computed == 0
    assert published.layers["measured"] == tmp_path / "out_support.tif"
    now = outputs(tmp_path)
    assert now.keys() == left.keys()
    assert all(now[name] == left[name] for name in left if name.endswith(".tif"))
    assert_valid_item(tmp_path / "out.json")
    assert pystac.Item.from_file(tmp_path / "out.json").assets["measured"].href.endswith("out_support.tif")


def test_a_layer_of_an_earlier_version_goes_with_the_product_that_is_overwritten(tmp_path, source, model):
    leave_earlier_version(request(source, model))
    super_resolve(request(source, model, core_px=10, overwrite=True))
    assert tree_of(tmp_path) == LEFT


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, source, model):
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    for name in undisturbed:
        (tmp_path / name).unlink()
    leave_unfinished(request(source, model))
    folder = work_folder(tmp_path / "out.tif")
    finished = sorted(path.stem for path in folder.glob("r????c????.tif"))
    assert finished
    (folder / f"{finished[0]}.measured.tif").unlink()
    recorder = Recorder()
    super_resolve(request(source, model), recorder)
    assert finished[0] in recorder.computed
    assert set(finished[1:]).isdisjoint(recorder.computed)
    assert outputs(tmp_path) == undisturbed
    assert tree_of(tmp_path) == LEFT


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:900])])
@pytest.mark.parametrize("name", ["out_uncertainty.tif", "out_measured.tif", "out.tif"])
def test_what_is_missing_or_damaged_is_made_anew(tmp_path, source, model, name, damage):
    """A kill between the outputs leaves some of them, and all chunks; here even those are gone."""
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    if name == "out.tif":
        (tmp_path / "out.json").unlink()
    damage(tmp_path / name)
    # What is so damaged that nobody can tell whose it is, is not replaced unasked.
    super_resolve(request(source, model, overwrite=(tmp_path / name).exists()))
    assert outputs(tmp_path) == undisturbed
    recorder = Recorder()
    assert super_resolve(request(source, model), recorder).computed == 0
    assert recorder.computed == []


@pytest.mark.slow
def test_a_kill_before_the_product_is_in_place_does_not_lock_the_layers(tmp_path, source, model):
    super_resolve(request(source, model))
    undisturbed = outputs(tmp_path)
    (tmp_path / "out.tif").unlink()
    (tmp_path / "out.json").unlink()
    super_resolve(request(source, model))
    assert outputs(tmp_path) == undisturbed


@pytest.mark.slow
def test_killed_for_real(tmp_path, model):
    command = ["upscale", str(SAMPLE), "-o", str(tmp_path / "out.tif")]
    command += ["--model", model, "--uncertainty", "--core", "60", "--json"]
    folder = work_folder(tmp_path / "out.tif")
    for ready in (
        lambda: len(list(folder.glob("r????c????.tif"))) >= 5,
        lambda: (folder / "ready.uncertainty.tif").exists(),
    ):
        process = WarmProcess("geosr", *command)
        deadline = time.monotonic() + 200
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not list(tmp_path.glob("out*.tif"))
    result = run_geosr(*command)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["computed"] == 0
    resumed = outputs(tmp_path)
    for name in resumed:
        (tmp_path / name).unlink()
    assert run_geosr(*command).returncode == 0
    assert outputs(tmp_path) == resumed
    assert tree_of(tmp_path) == [name for name in LEFT if name != "in.tif"]


def test_a_run_with_uncertainty_is_another_than_one_without(tmp_path, source, model):
    leave_unfinished(request(source, model, uncertainty=False))
    manifest = json.loads((work_folder(tmp_path / "out.tif") / "manifest.json").read_text())
    assert "layers" not in manifest
    with pytest.raises(ResumeError, match="layers"):
        super_resolve(request(source, model))


@pytest.mark.parametrize("name", ["out_uncertainty.tif", "out_measured.tif"])
def test_what_others_have_in_a_layers_place_stays(tmp_path, source, model, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ExistsError, match=rf"{name}.*--overwrite"):
        super_resolve(request(source, model))
    assert (tmp_path / name).read_text() == "precious"
    assert tree_of(tmp_path) == sorted(["in.tif", name])
    super_resolve(request(source, model, overwrite=True))
    assert tree_of(tmp_path) == LEFT


def test_a_layer_never_replaces_the_source(tmp_path, sample, model):
    source = write_raster(tmp_path / "out_measured.tif", sample[:, :30, :30])
    before = source.read_bytes()
    with pytest.raises(ExistsError, match="source itself"):
        super_resolve(request(source, model, overwrite=True))
    assert source.read_bytes() == before


@pytest.mark.parametrize("size", ["300k", "2500k", "4500k"])
def test_a_full_disk_leaves_what_is_finished_alone(tmp_path, sample, model, size):
    """It fills up in the first chunk, in a later one, or at a mosaic."""
    source = write_raster(tmp_path / "in.tif", sample[:, :120, :120])
    with mounted(tmp_path / "small", f"size={size}") as target:
        full = upscale_request(SceneRequest(str(source)), target / "out.tif", model=model, core_px=60, uncertainty=True)
        with pytest.raises(DiskFullError, match="no space left"):
            super_resolve(full)
        assert all(name.startswith("out.tif.geosr") for name in tree(target))
