"""Files on a disk, or in storage that fsspec reaches. A file appears complete or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from tiling.errors import DiskFullError, OccupiedError, OutputError, StorageError
from tiling.locations import Content, Location, derived_name

if TYPE_CHECKING:
    pass


#: Objects are sent in parts of this size, bytes: at most 10,000 of them make an object of up to 320 GB.
_PART_BYTES = 32 * 2**20


#: What file systems say that have no hard links, or do not let users make them.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

#: A large file's bytes leave the system's memory after so many were written.
_STEP_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Occupant:
    """Identity of the file at a path, or of its absence."""

    stamp: tuple[int, int, int, int] | None
    """Device, number, size and time of change of the file; None if there is none."""


_NOTHING = Occupant(None)

#: An object in storage, where none is told from another.
_OBJECT = Occupant((0, 0, 0, 0))


def read_range(path: Location, start: int, stop: int) -> bytes:
    """Read a range of a file's bytes.

    Parameters
    ----------
    path
        Location of the file.
    start, stop
        First byte, and the one after the last; a range beyond the end of the file is cut there.

    Returns
    -------
    bytes
        Content of the range.

    Raises
    ------
    OutputError
        The file does not exist or cannot be read.

    """
    with explained(path, "read"):
        if isinstance(path, Path):
            with path.open("rb") as file:
                # Memory is taken for as many bytes as are asked for, and a damaged file may say any number.
                stop = min(stop, os.fstat(file.fileno()).st_size)
                file.seek(start)
                return file.read(max(0, stop - start))
        return bytes(path.fs.cat_file(path.path, start=start, end=stop))


def write(
    path: Location,
    parts: Iterable[Content],
    *,
    draft: Path | None = None,
    cached: bool = True,
    expected: Occupant | None = None,
) -> None:
    """Write a file, which appears complete or not at all.

    On a disk the file is written as ``draft``, or beside ``path``, synced and renamed. The next attempt removes what a
    killed process has left there; a link is never followed. In storage the file appears when its last part has been
    sent.

    Parameters
    ----------
    path
        Location of the file.
    parts
        Its content, in order.
    draft
        Temporary name on the same file system.
    cached
        False for a file that is not read again soon: its pages are dropped from the system's cache.
    expected
        What :func:`occupant` found at ``path`` before, which alone is replaced; None for anything.

    Raises
    ------
    OccupiedError
        Something else is at ``path`` by now.
    DiskFullError
        The disk is full.
    OutputError
        The operating system or storage refuses the file.

    """
    if isinstance(path, Path):
        with _installed(path, draft, expected) as file:
            if cached:
                file.writelines(parts)
            else:
                _write_through(file, parts)
        return
    with explained(path):
        file = path.fs.open(path.path, "wb", block_size=_PART_BYTES, autocommit=False)
        try:
            for part in parts:
                file.write(part)
            file.close()
            # What appears in storage between this look and the end of the upload is replaced all the same.
            _check_free(path, expected)
            file.commit()
        except BaseException:
            # What was sent so far would be kept, unseen and paid for.
            with suppress(Exception):
                file.discard()
            raise


def occupant(path: Location) -> Occupant:
    """Identify the file, or link, at a path. Objects in storage are not distinguished from one another.

    Parameters
    ----------
    path
        Location.

    Returns
    -------
    Occupant
        Identity of the file or of its absence.

    """
    if not isinstance(path, Path):
        with explained(path, "read"):
            return _OBJECT if path.exists() else _NOTHING
    with explained(path, "read"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return _NOTHING
    return Occupant((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


def move(source: Location, target: Location, *, expected: Occupant | None = None) -> None:
    """Give a finished file its final name.

    On a disk this is immediate; in storage it is a copy that appears when it is complete.

    Parameters
    ----------
    source
        Location of the file.
    target
        Its final location.
    expected
        What :func:`occupant` found at ``target`` before, which alone is replaced; None for anything.

    Raises
    ------
    OccupiedError
        Another file has the name.

    """
    with explained(target):
        if isinstance(source, Path) and isinstance(target, Path):
            _install(source, target, expected)
        else:
            _check_free(target, expected)
            source.fs.mv(source.path, target.path)  # type: ignore[union-attr]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name that replaces ``path`` when the block ends without an error.

    Parameters
    ----------
    path
        Final name.

    Yields
    ------
    Path
        Temporary name, at which there is an empty file. It is removed after an error.

    Raises
    ------
    DiskFullError
        The disk is full.
    OutputError
        The operating system refuses the file.

    """
    temporary = _draft_of(path)
    with explained(path):
        try:
            _create(temporary).close()
            yield temporary
            _flush(temporary)
            _install(temporary, path, None)
        finally:
            _discard(temporary)


@contextmanager
def _installed(path: Path, draft: Path | None, expected: Occupant | None) -> Iterator[BinaryIO]:
    """Yield a file to write; it gets its name when the block ends well, and is removed otherwise."""
    temporary = draft or _draft_of(path)
    with explained(path):
        file = _create(temporary)
        try:
            with file:
                yield file
                file.flush()
                # The content is to be durable before its name is; a write that the disk could not take is learnt here.
                os.fsync(file.fileno())
            _install(temporary, path, expected)
        finally:
            _discard(temporary)


def _check_free(path: Location, expected: Occupant | None) -> None:
    if expected == _NOTHING and path.exists():
        raise OccupiedError(path)


def _draft_of(path: Path) -> Path:
    return path.with_name(derived_name(path.name, prefix=".", suffix=".part"))


def _create(path: Path) -> BinaryIO:
    """Create a file that nothing else has open; a link of that name is removed and never followed."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def _discard(path: Path) -> None:
    # Where nothing could be written there is nothing to remove.
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _install(temporary: Path, path: Path, expected: Occupant | None) -> None:
    """Give a durable file its name, and make that durable."""
    if expected is None:
        temporary.replace(path)
    elif expected == _NOTHING:
        _link(temporary, path)
    elif occupant(path) == expected:
        temporary.replace(path)
    else:
        raise OccupiedError(path)
    _sync_folder(path.parent)


def _link(temporary: Path, path: Path) -> None:
    """Give a file a name that nothing has: to rename it would replace what has appeared there."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError as error:
        raise OccupiedError(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The file system has no hard links, and so no name that is given only if it is free.
        if os.path.lexists(path):
            raise OccupiedError(path) from error
        temporary.replace(path)
    else:
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def _write_through(file: BinaryIO, parts: Iterable[Content]) -> None:
    """Write a file, and have the system send to the disk what it has of it, rather than keep it.

    A file of gigabytes takes memory from all others, and to take it costs more than to copy what goes into it.
    """
    kept = 0
    for part in parts:
        kept += file.write(part)
        if kept >= _STEP_BYTES and hasattr(os, "posix_fadvise"):
            file.flush()
            # What is on its way to the disk stays until the next time.
            os.posix_fadvise(file.fileno(), 0, file.tell(), os.POSIX_FADV_DONTNEED)
            kept = 0


@contextmanager
def explained(path: Location, action: Literal["write", "read"] = "write") -> Iterator[None]:
    """Turn errors of a disk or of storage into errors of this package."""
    try:
        yield
    except OSError as error:
        raise _explain(error, path, action) from error
    except Exception as error:
        if isinstance(path, Path) or not _is_of_storage(error):
            raise
        raise StorageError(f"{path} cannot be reached: {error}") from error


def _flush(path: Path) -> None:
    """Make the content durable before its name is, and learn here of a write that the disk could not take."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Location, action: str) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(f"no space left while writing {path}")
    if isinstance(path, Path):
        return OutputError(f"cannot {action} {path}: {error.strerror or error}")
    refused = isinstance(error, FileNotFoundError | PermissionError)
    return (OutputError if refused else StorageError)(f"cannot {action} {path}: {error.strerror or error}")


def _is_of_storage(error: Any) -> bool:
    """Tell whether an error was raised by a library that reaches storage."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
