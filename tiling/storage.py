"""Where files are: on a disk, or in storage that fsspec reaches. Files come into being complete, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from tiling.errors import DiskFullError, OutputError, StorageError

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

#: A large file's bytes leave the system's memory after so many were written.
_STEP_BYTES = 64 * 2**20


def locate(text: str | Path) -> Location:
    """The location that a path or a URL, as ``s3://bucket/key``, names.

    Raises :class:`OutputError` for storage that is not known or whose library is not installed.
    """
    scheme, separator, _ = str(text).partition("://")
    if isinstance(text, Path) or not separator:
        return Path(text)
    if scheme not in _VIRTUAL:
        raise OutputError(f"{text} is neither a path nor in storage that is known (s3://…)")
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


def write(path: Location, parts: Iterable[Content], *, draft: Path | None = None, cached: bool = True) -> None:
    """Write a file of these parts, which appears complete or not at all.

    On a disk it is made as ``draft``, or beside ``path``, and renamed; what a killed process leaves there is
    overwritten by the next attempt. In storage it appears when its last part was sent. What is not ``cached``, as it is
    not to be read again soon, leaves the system's memory on its way to the disk.

    Raises :class:`DiskFullError` or :class:`OutputError` for what is refused.
    """
    if isinstance(path, Path):
        with replacing(path, draft) as temporary, temporary.open("wb") as file:
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
            file.commit()
        except BaseException:
            # What was sent so far would be kept, unseen and paid for.
            with suppress(Exception):
                file.discard()
            raise


def move(source: Location, target: Location) -> None:
    """Give a finished file its final name; on a disk at once, in storage by a copy that appears when it is whole."""
    with explained(target):
        if isinstance(source, Path):
            source.replace(target)  # type: ignore[arg-type]
        else:
            source.fs.mv(source.path, target.path)  # type: ignore[union-attr]


@contextmanager
def replacing(path: Path, draft: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name; rename it to ``path`` when the block ends well, remove it otherwise.

    Raises :class:`DiskFullError` or :class:`OutputError` for what the operating system refuses.
    """
    temporary = draft or path.with_name(f".{path.name}.part")
    with explained(path):
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
        finally:
            # Where nothing could be written there is nothing to remove.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


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
