"""Locks on the folder of a run: on a disk the system's own, in storage a lease that its holder renews."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from geosr.errors import ResumeError
from tiling import Location, OutputError
from tiling.storage import explained

if TYPE_CHECKING:
    from upath import UPath

#: Name of the lock in its folder.
LOCK = "lock"

#: Seconds after which a lease is renewed, and after which one that was not is nobody's.
_RENEWED_S = 3.0
_EXPIRED_S = 3 * _RENEWED_S

#: What the system says of a lock that another process has; on some file systems, that access is denied.
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class Lock(Protocol):
    """Held until it is released, or its process is gone."""

    def release(self) -> None: ...


def lock_folder(folder: Location, output: Location) -> Lock:
    """Lock a folder, which is made where there is none.

    Raises :class:`ResumeError` when another process has it, :class:`tiling.OutputError` where there are no locks.
    """
    taken = ResumeError(f"another process is making {output} or its namesake: wait for it, or write elsewhere")
    return _FileLock(folder, taken) if isinstance(folder, Path) else _Lease(folder, taken)


class _FileLock:
    """Goes with the process, however it ends."""

    def __init__(self, folder: Path, taken: ResumeError) -> None:
        self._file = self._lock(folder, taken)

    @staticmethod
    def _lock(folder: Path, taken: ResumeError) -> TextIO:
        while True:
            with explained(folder):
                folder.mkdir(exist_ok=True)
                if folder.is_symlink():
                    raise OutputError(f"{folder}, where unfinished runs are kept, is a link: remove it")
                # A link in its place is not followed: what it leads to would be emptied.
                flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
                lock = os.fdopen(os.open(folder / LOCK, flags, 0o666), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.close()
                if error.errno in _TAKEN:
                    raise taken from error
                with suppress(OSError):
                    # Nobody else can hold what cannot be locked.
                    (folder / LOCK).unlink()
                    folder.rmdir()
                raise OutputError(
                    f"cannot lock {folder}: {error.strerror}; write to a file system that has locks, and copy the "
                    "result from there"
                ) from error
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
                    return lock
            # Between opening and locking, the process that had the folder removed it: this lock is nobody's.
            lock.close()

    def release(self) -> None:
        self._file.close()


class _Lease:
    """An object that its holder writes anew every few seconds; one that stays the same was left by a process that died.

    Storage has no locks. Two that find the same dead lease in the same instant could both take it; they would compute
    the same chunks twice, to the same bytes.
    """

    def __init__(self, folder: UPath, taken: ResumeError) -> None:
        self._path = folder / LOCK
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        while not self._create():
            if self._is_alive():
                raise taken
            with explained(self._path), suppress(FileNotFoundError):
                self._path.unlink()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._ended.set()
        self._thread.join()
        with explained(self._path), suppress(FileNotFoundError):
            self._path.unlink()

    def _create(self) -> bool:
        """Create the lease; False when it was there already."""
        with explained(self._path):
            try:
                self._path.fs.pipe_file(self._path.path, self._content(), mode="create")
            except FileExistsError:
                return False
        return True

    def _is_alive(self) -> bool:
        """Tell whether the existing lease is renewed."""
        first, end = self._read(), time.monotonic() + _EXPIRED_S
        while first is not None and time.monotonic() < end:
            time.sleep(_RENEWED_S / 10)
            if (now := self._read()) != first:
                return now is not None
        return False

    def _read(self) -> bytes | None:
        with explained(self._path):
            try:
                # In one request: the object may be written anew between two.
                return bytes(self._path.fs.cat_file(self._path.path))
            except FileNotFoundError:
                return None

    def _renew(self) -> None:
        while not self._ended.wait(_RENEWED_S):
            # Where storage does not answer, the work itself fails and says so.
            with suppress(Exception):
                self._path.write_bytes(self._content())

    def _content(self) -> bytes:
        return f"{self._token} {time.time()}".encode()
