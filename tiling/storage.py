"""Where files are: on a disk, or in storage that fsspec reaches. Files come into being complete, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from tiling.errors import DiskFullError, OccupiedError, OutputError, StorageError

if TYPE_CHECKING:
    from upath import UPath

#: A path on a disk, or of an object in storage.
Location: TypeAlias = "Path | UPath"

#: A part of a file, as it is written.
Content: TypeAlias = "bytes | memoryview"

#: Storage that both fsspec and GDAL know, and how GDAL names it.
_VIRTUAL = {"s3": "/vsis3/"}

#: Objects are sent in parts of this size, bytes: at most 10,000 of them make an object of up to 320 GB.
_PART_BYTES = 32 * 2**20

#: Longest name of a file that file systems take, bytes.
NAME_BYTES = 255

#: What file systems say that have no hard links, or do not let users make them.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

#: A large file's bytes leave the system's memory after so many were written.
_STEP_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Occupant:
    """What is at a path: a file by its device, number, size and time of change, or nothing."""

    stamp: tuple[int, int, int, int] | None


_NOTHING = Occupant(None)

#: An object in storage, where none is told from another.
_OBJECT = Occupant((0, 0, 0, 0))


def locate(text: str | Path) -> Location:
    """The location that a path or a URL, as ``s3://bucket/key``, names.

    Raises :class:`OutputError` for storage that is not known or whose library is not installed.
    """
    scheme, separator, _ = str(text).partition("://")
    if isinstance(text, Path) or not separator:
        return Path(text)
    if scheme not in _VIRTUAL:
        shown = re.sub(r"://[^\s/?#]*@", "://", str(text)).partition("?")[0]
        raise OutputError(f"{shown} is neither a path nor in storage that is known (s3://…)")
    from upath import UPath

    try:
        # What other machines write must be seen: nothing is remembered of what was there.
        place = UPath(text, use_listings_cache=False)
        place.fs  # noqa: B018 - opens the file system, which may be missing
    except ImportError as error:
        raise OutputError(f"{text} needs a library that is not installed: pip install 'geosr[{scheme}]'") from error
    return place


def is_remote(path: Location) -> bool:
    """Whether a location is in storage, and not on a disk."""
    return not isinstance(path, Path)


def gdal_path(path: Location) -> str:
    """The name by which GDAL opens a location."""
    if isinstance(path, Path):
        return str(path)
    return _VIRTUAL[path.protocol] + path.path


def read_range(path: Location, start: int, stop: int) -> bytes:
    """The bytes from ``start`` up to ``stop``, or to the end of the file where that comes first.

    Raises :class:`OutputError`.
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
    """Write a file of these parts, which appears complete or not at all.

    On a disk it is made as ``draft``, or beside ``path``, and renamed, and the folder is synced; what a killed process
    leaves there is removed by the next attempt, and a link is never followed. In storage it appears when its last part
    was sent. What is not ``cached``, as it is not to be read again soon, leaves the system's memory on its way to the
    disk. What is at ``path`` is replaced if it is the ``expected``, see :func:`occupant`; None stands for anything.

    Raises :class:`OccupiedError` where something else is at ``path`` by then, :class:`DiskFullError` or
    :class:`OutputError` for what is refused.
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
    """Identify the file, or link, that is at a path now. Objects in storage are not told from one another."""
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
    """Give a finished file its final name; on a disk at once, in storage by a copy that appears when it is whole.

    Raises :class:`OccupiedError` where another file than the ``expected`` one has the name; None stands for any.
    """
    with explained(target):
        if isinstance(source, Path) and isinstance(target, Path):
            _install(source, target, expected)
        else:
            _check_free(target, expected)
            source.fs.mv(source.path, target.path)  # type: ignore[union-attr]


def derived_name(name: str, *, prefix: str = "", suffix: str = "") -> str:
    """The name of a file that belongs to another one, given its name.

    What file systems would not take is cut, and told from others by a digest.
    """
    whole = f"{prefix}{name}{suffix}"
    if len(os.fsencode(whole)) <= NAME_BYTES:
        return whole
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    room = NAME_BYTES - len(os.fsencode(f"{prefix}~{digest}{suffix}"))
    kept = os.fsencode(name)[:room].decode("utf-8", "ignore")
    return f"{prefix}{kept}~{digest}{suffix}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name, at which there is an empty file; rename it to ``path`` when the block ends well.

    It is removed otherwise. Raises :class:`DiskFullError` or :class:`OutputError` for what the operating system
    refuses.
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
    """Turn what a disk or storage refuses into this package's errors."""
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
    """Whether an error comes from the libraries that reach storage, each of which has its own."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
