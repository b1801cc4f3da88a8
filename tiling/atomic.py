"""The one way in which files come into being: complete, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tiling.errors import DiskFullError, OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it into place when the block ends well, remove it otherwise.

    What a killed process leaves under the temporary name is overwritten by the next attempt.

    Raises :class:`DiskFullError` or :class:`OutputError` for what the operating system refuses.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        # Where nothing could be written there is nothing to remove.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Make the content durable before its name is, and learn here of a write that the disk could not take."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Path) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(f"no space left while writing {path}")
    return OutputError(f"cannot write {path}: {error.strerror or error}")
