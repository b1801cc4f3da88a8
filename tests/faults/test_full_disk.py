"""A disk that runs full keeps what is finished. A limit on the size of files stands in for it: none can be mounted."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager

import pytest

from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from tests.faults.runs import Disturbed, finished_run
from tests.geosr.test_resume import Recorder
from tiling import DiskFullError

#: Larger than any chunk of the run, smaller than its product.
BETWEEN = 60_000


def limit_files(size):
    """From now on, the system takes no more than so many bytes for a file of this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def full_beyond(size):
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit_files(size)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def chunk_names(output):
    return sorted(path.stem for path in work_folder(output).glob("r*.tif"))


def test_no_space_for_the_product_keeps_all_chunks(tmp_path, sample):
    wanted, undisturbed = finished_run(tmp_path, sample)
    assert len(undisturbed) > BETWEEN
    with full_beyond(BETWEEN), pytest.raises(DiskFullError, match=r"no space left.*what is finished is kept"):
        super_resolve(wanted)
    assert len(chunk_names(wanted.output)) == 4
    assert not wanted.output.exists()
    recorder = Recorder()
    super_resolve(wanted, recorder)
    assert recorder.computed == []
    assert wanted.output.read_bytes() == undisturbed


def test_no_space_for_a_chunk_keeps_those_before_it(tmp_path, sample):
    wanted, undisturbed = finished_run(tmp_path, sample)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    with full_beyond(before), pytest.raises(DiskFullError, match=r"no space left.*what is finished is kept"):
        super_resolve(wanted, Disturbed(first_chunk=lambda: limit_files(1000)))
    kept = chunk_names(wanted.output)
    assert 1 <= len(kept) < 4
    recorder = Recorder()
    super_resolve(wanted, recorder)
    assert set(kept).isdisjoint(recorder.computed)
    assert len(kept) + len(recorder.computed) == 4
    assert wanted.output.read_bytes() == undisturbed


def test_a_disk_that_is_known_to_be_too_small_keeps_all_chunks(tmp_path, sample, monkeypatch):
    wanted, undisturbed = finished_run(tmp_path, sample)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
        with pytest.raises(DiskFullError, match="no space left to assemble the output"):
            super_resolve(wanted)
    assert len(chunk_names(wanted.output)) == 4
    super_resolve(wanted)
    assert wanted.output.read_bytes() == undisturbed


def test_where_nothing_is_finished_nothing_is_left(tmp_path, sample):
    wanted, _ = finished_run(tmp_path, sample)
    with full_beyond(1000), pytest.raises(DiskFullError):
        super_resolve(wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]
