"""Files appear complete or not at all."""

import errno
import os

import pytest

from tiling import DiskFullError, OutputError, replacing, storage, write


def write_half(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_an_error_leaves_the_old_content_and_no_other_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, DiskFullError), (errno.EACCES, OutputError)])
def test_what_the_system_refuses_is_explained(tmp_path, number, error):
    with pytest.raises(error, match=r"a\.txt"), replacing(tmp_path / "a.txt"):
        raise OSError(number, "refused")
    assert not list(tmp_path.iterdir())


def test_a_large_file_leaves_memory_as_it_is_written(tmp_path, monkeypatch):
    parts = [bytes([number]) * 30 for number in range(10)]
    let_go = []
    advise = os.posix_fadvise

    def noting(descriptor, start, length, advice):
        assert os.fstat(descriptor).st_size == length
        let_go.append((start, length, advice))
        advise(descriptor, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", noting)
    monkeypatch.setattr(storage, "_STEP_BYTES", 100)
    write(tmp_path / "read again", parts)
    assert let_go == []
    write(tmp_path / "large", parts, cached=False)
    assert (tmp_path / "large").read_bytes() == b"".join(parts)
    assert let_go == [(0, 120, os.POSIX_FADV_DONTNEED), (0, 240, os.POSIX_FADV_DONTNEED)]
