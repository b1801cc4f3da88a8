"""Files appear complete or not at all."""

import errno
import os
from pathlib import Path

import pytest

from tiling import (
    NAME_BYTES,
    DiskFullError,
    OccupiedError,
    OutputError,
    derived_name,
    move,
    occupant,
    replacing,
    storage,
    write,
)


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


def test_a_file_that_appears_under_the_name_is_not_replaced(tmp_path):
    path = tmp_path / "out.tif"
    nothing = occupant(path)

    def parts():
        yield b"mine"
        path.write_bytes(b"theirs")

    with pytest.raises(OccupiedError, match=r"out\.tif was made by another program meanwhile") as caught:
        write(path, parts(), expected=nothing)
    assert caught.value.path == path
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_another_file_than_the_one_to_replace_is_not_replaced(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    old = occupant(path)
    write(path, [b"new"], expected=old)
    assert path.read_bytes() == b"new"
    with pytest.raises(OccupiedError):
        write(path, [b"newer"], expected=old)
    assert path.read_bytes() == b"new"


def test_a_link_that_appears_under_the_name_is_neither_followed_nor_replaced(tmp_path):
    path = tmp_path / "out.tif"
    nothing = occupant(path)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OccupiedError):
        write(path, [b"mine"], expected=nothing)
    assert path.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_a_moved_file_does_not_replace_one_that_has_appeared(tmp_path):
    source, target = tmp_path / "ready.tif", tmp_path / "out.tif"
    source.write_bytes(b"mine")
    nothing = occupant(target)
    target.write_bytes(b"theirs")
    with pytest.raises(OccupiedError):
        move(source, target, expected=nothing)
    assert (source.read_bytes(), target.read_bytes()) == (b"mine", b"theirs")
    target.unlink()
    move(source, target, expected=nothing)
    assert target.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_a_file_gets_its_name_all_the_same(tmp_path, monkeypatch, code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "out.tif"
    nothing = occupant(path)
    monkeypatch.setattr(os, "link", refused)
    write(path, [b"mine"], expected=nothing)
    assert path.read_bytes() == b"mine"
    with pytest.raises(OccupiedError):
        write(path, [b"more"], expected=nothing)
    assert list(tmp_path.iterdir()) == [path]


def test_links_under_temporary_names_are_not_followed(tmp_path):
    precious, path, draft = (tmp_path / name for name in ("precious", "out.tif", "draft"))
    precious.write_text("precious")
    for temporary in (tmp_path / ".out.tif.part", draft):
        temporary.symlink_to(precious)
    write(path, [b"mine"])
    write(path, [b"mine too"], draft=draft)
    (tmp_path / ".out.tif.part").symlink_to(precious)
    with replacing(path) as one:
        one.write_bytes(b"and this")
    assert precious.read_text() == "precious"
    assert path.read_bytes() == b"and this"
    assert sorted(tmp_path.iterdir()) == [path, precious]


def test_the_name_is_durable_before_anything_else_is_done(tmp_path, monkeypatch):
    """The file is synced before it has its name, and its folder after."""
    synced, sync = [], os.fsync

    def noting(descriptor):
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (tmp_path / "out.tif").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write(tmp_path / "out.tif", [b"mine"], expected=occupant(tmp_path / "out.tif"))
    assert synced == [(str(tmp_path / ".out.tif.part"), False), (str(tmp_path), True)]


@pytest.mark.parametrize("letter", ["n", "é", "雪"])
@pytest.mark.parametrize("spare", range(12))
def test_files_named_after_one_with_a_long_name_have_names_that_the_system_takes(tmp_path, letter, spare):
    stem = (letter * NAME_BYTES).encode()[: NAME_BYTES - spare - 4].decode("utf-8", "ignore")
    path, other = tmp_path / f"{stem}.tif", tmp_path / f"{stem[:-1]}x.tif"
    write(path, [b"mine"])
    assert path.read_bytes() == b"mine"
    folders = {one.with_name(derived_name(one.name, suffix=".geosr")) for one in (path, other)}
    assert len(folders) == 2
    for folder in folders:
        folder.mkdir()
        assert folder.name.endswith(".geosr")
