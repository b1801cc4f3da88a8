"""Files of others, links and long names around a product."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from geosr.errors import ExistsError, ResumeError, UsageError
from geosr.run import checkpoint
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from tests.faults.runs import Disturbed, finished_run
from tests.geosr.test_resume import Recorder, leave_unfinished, request
from tests.small_model import write_small_model
from tiling import OccupiedError, OutputError


@pytest.mark.parametrize("name", ["out.tif", "out.json"])
def test_a_foreign_file_that_appears_is_not_replaced_and_the_run_is_finished_without_it(tmp_path, sample, name):
    wanted, undisturbed = finished_run(tmp_path, sample)
    foreign = tmp_path / name
    with pytest.raises(OccupiedError, match=rf"{name} was made by another program"):
        super_resolve(wanted, Disturbed(assembling=lambda: foreign.write_text("theirs")))
    assert foreign.read_text() == "theirs"
    assert len(list(work_folder(wanted.output).glob("r*.tif"))) == 4
    if name == "out.tif":
        with pytest.raises(ExistsError, match=name):
            super_resolve(wanted)
    foreign.unlink()
    recorder = Recorder()
    super_resolve(wanted, recorder)
    assert recorder.computed == []
    assert wanted.output.read_bytes() == undisturbed


@pytest.mark.slow
def test_a_foreign_layer_that_appears_is_not_replaced(tmp_path, sample):
    options = {"model": str(write_small_model(tmp_path)), "precision": "float32", "uncertainty": True}
    wanted, _ = finished_run(tmp_path, sample, **options)
    layers = sorted(tmp_path.glob("out_*.tif"))
    for path in layers:
        path.unlink()
    with pytest.raises(OccupiedError, match=layers[1].name):
        super_resolve(wanted, Disturbed(assembling=lambda: layers[1].write_text("theirs")))
    assert layers[1].read_text() == "theirs"


def test_to_overwrite_is_to_replace_what_appears(tmp_path, sample):
    wanted, undisturbed = finished_run(tmp_path, sample, overwrite=True)
    super_resolve(wanted, Disturbed(assembling=lambda: wanted.output.write_text("theirs")))
    assert wanted.output.read_bytes() == undisturbed


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_written_through(tmp_path, sample, dangling):
    wanted, undisturbed = finished_run(tmp_path, sample)
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "other.tif"
    if not dangling:
        super_resolve(request(tmp_path, sample, model="nearest"))
        wanted.output.rename(target)
        (tmp_path / "out.json").rename(tmp_path / "disk" / "other.json")
    wanted.output.symlink_to(target)
    recorder = Recorder()
    published = super_resolve(request(tmp_path, sample, overwrite=not dangling), recorder)
    assert wanted.output.is_symlink()
    assert target.read_bytes() == undisturbed
    assert (published.cog, published.item) == (target, tmp_path / "disk" / "other.json")
    assert any(f"out.tif is a link: the product goes to {target}" in note for note in recorder.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "in.tif", "out.tif"]
    assert sorted(path.name for path in target.parent.iterdir()) == ["other.json", "other.tif"]


def test_a_link_to_itself_is_refused(tmp_path, sample):
    wanted = request(tmp_path, sample)
    wanted.output.symlink_to(wanted.output)
    with pytest.raises(UsageError, match="leads to itself"):
        super_resolve(wanted)


def test_links_in_place_of_what_a_run_makes_are_not_followed(tmp_path, sample):
    wanted, undisturbed = finished_run(tmp_path, sample)
    leave_unfinished(wanted)
    folder, precious = work_folder(wanted.output), tmp_path / "precious"
    precious.write_text("precious")
    for path in (folder / "mosaic.tif", folder / ".manifest.json.part", tmp_path / ".out.json.part"):
        path.symlink_to(precious)
    super_resolve(wanted)
    assert precious.read_text() == "precious"
    assert wanted.output.read_bytes() == undisturbed
    assert not wanted.output.is_symlink()


@pytest.mark.parametrize("name", ["lock", None])
def test_a_link_in_place_of_the_lock_or_the_folder_is_refused(tmp_path, sample, name):
    wanted = request(tmp_path, sample)
    folder, precious = work_folder(wanted.output), tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    if name is None:
        folder.symlink_to(precious)
    else:
        folder.mkdir()
        (folder / name).symlink_to(precious / "file")
    with pytest.raises(OutputError, match=r"out\.tif\.geosr"):
        super_resolve(wanted)
    assert [path.name for path in precious.iterdir()] == ["file"]
    assert (precious / "file").read_text() == "precious"


def test_a_link_to_nothing_where_the_item_goes_is_refused_before_anything_is_computed(tmp_path, sample):
    wanted, recorder = request(tmp_path, sample), Recorder()
    (tmp_path / "out.json").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match=r"out\.json: it is not a file"):
        super_resolve(wanted, recorder)
    assert recorder.computed == []
    assert not (tmp_path / "nothing").exists()


def test_products_that_share_an_item_are_not_made_at_once(tmp_path, sample):
    """``out.tif`` and ``out.tiff`` both have their Item at ``out.json``."""
    wanted, undisturbed = finished_run(tmp_path, sample)
    refused = []

    def meanwhile():
        other = request(tmp_path, sample, model="nearest")
        with pytest.raises(ResumeError, match=r"another process is making .*out\.tiff") as caught:
            super_resolve(replace(other, output=tmp_path / "out.tiff"))
        refused.append(caught.value)

    super_resolve(wanted, Disturbed(first_chunk=meanwhile))
    assert len(refused) == 1
    assert wanted.output.read_bytes() == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.json", "out.tif"]


@pytest.mark.parametrize("length", [240, 246, 249, 250, 254])
def test_names_up_to_what_the_system_takes(tmp_path, sample, length):
    wanted, undisturbed = finished_run(tmp_path, sample)
    output = tmp_path / f"{'n' * (length - 4)}.tif"
    longer = replace(wanted, output=output)
    leave_unfinished(longer)
    recorder = Recorder()
    super_resolve(longer, recorder)
    assert len(recorder.computed) < 4
    assert output.read_bytes() == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", output.with_suffix(".json").name, output.name]


def test_a_name_too_long_for_the_item_or_a_layer_is_refused_in_one_line(tmp_path, sample):
    wanted = request(tmp_path, sample)
    for length, uncertainty in ((255, False), (252, True)):
        output = tmp_path / f"{'n' * (length - 4)}.tif"
        with pytest.raises(UsageError, match=r"have a name of \d+ bytes, and file systems take 255") as caught:
            super_resolve(
                type(wanted)(**{**vars(wanted), "output": output, "uncertainty": uncertainty, "model": "rgbn-x4"})
            )
        assert len(str(caught.value)) < 200
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_the_folder_of_the_product_is_synced_before_its_chunks_go(tmp_path, sample, monkeypatch):
    wanted, events, sync, remove = request(tmp_path, sample), [], os.fsync, checkpoint._remove

    def noting(descriptor):
        here = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        events.append(("sync", wanted.output.exists(), (tmp_path / "out.json").exists()) if here else "other")
        sync(descriptor)

    def removing(paths):
        events.append("remove")
        remove(paths)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(checkpoint, "_remove", removing)
    super_resolve(wanted)
    last = len(events) - 1 - events[::-1].index("remove")
    assert ("sync", True, True) in events[:last]
    assert "other" not in events[last:]
