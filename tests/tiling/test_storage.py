"""Files appear complete or not at all."""

import errno

import pytest

from tiling import DiskFullError, OutputError, replacing


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
