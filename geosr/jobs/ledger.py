"""The ledger of a run: a folder beside the output in which finished chunks are kept until the output is whole.

A chunk is finished when its file is there, for files appear complete or not at all; what else is made of it has files
of its own, which are there before. The folder is locked while a process works in it; the lock goes with the process,
however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from geosr.errors import ResumeError
from geosr.jobs.manifest import Manifest
from tiling import Chunk, ChunkPlan, OutputError, is_whole, replacing

_MANIFEST = "manifest.json"
_LOCK = "lock"

#: Names of the files that a run has in its folder, whole and half-written.
_OURS = re.compile(r"lock|\.?manifest\.json(\.part)?|\.?r\d+c\d+(\.[a-z]+)?\.tif(\.part)?|\.?(mosaic|ready)\..*")


class Ledger:
    """Finished and pending chunks of one run."""

    def __init__(self, folder: Path, lock: TextIO, plan: ChunkPlan, layers: Sequence[str] = ()) -> None:
        self.folder = folder
        self._lock = lock
        self._plan = plan
        self._layers = tuple(layers)

    @classmethod
    def open(
        cls,
        output: Path,
        manifest: Manifest,
        plan: ChunkPlan,
        *,
        layers: Sequence[str] = (),
        restart: bool = False,
    ) -> Ledger:
        """Open the ledger of ``output``, or begin one; every chunk has also a file of each of ``layers``.

        Finished chunks of the same run are taken over, but for damaged ones. Raises :class:`ResumeError` when another
        process has the ledger, or when it is that of another run and ``restart`` is not set;
        :class:`tiling.OutputError` when the folder cannot be made or holds files of someone else.
        """
        lock = _lock(work_folder(output), output)
        ledger = cls(work_folder(output), lock, plan, layers)
        try:
            ledger._adopt(manifest, output, restart)
        except BaseException:
            lock.close()
            raise
        return ledger

    def _adopt(self, manifest: Manifest, output: Path, restart: bool) -> None:
        path = self.folder / _MANIFEST
        earlier = _read_manifest(path)
        if earlier is not None and earlier.digest == manifest.digest:
            self._forget_damaged()
            return
        if earlier is not None and not restart:
            raise ResumeError(
                f"{output} has an unfinished run with other settings, differing in "
                f"{', '.join(manifest.differences(earlier))}: repeat those to finish it, or --restart to start over"
            )
        # Without a manifest nobody knows what run chunks belong to.
        self._forget_chunks()
        with replacing(path) as temporary:
            temporary.write_text(manifest.text(), encoding="utf-8")

    def path(self, chunk: Chunk, layer: str | None = None) -> Path:
        """Where a chunk's file is, or will be."""
        return chunk_path(self.folder, chunk, layer)

    def ready(self, layer: str) -> Path:
        """Where a whole layer waits until the product is whole, too."""
        return self.folder / f"ready.{layer}.tif"

    def pending(self) -> Iterator[Chunk]:
        """Chunks that are not finished."""
        return (chunk for chunk in self._plan if not self.path(chunk).exists())

    @property
    def finished(self) -> int:
        """Number of finished chunks."""
        return sum(self.path(chunk).exists() for chunk in self._plan)

    def files(self, layer: str | None = None) -> Mapping[str, Path]:
        """Every chunk's file by key, of the product or of a layer."""
        return {chunk.key: self.path(chunk, layer) for chunk in self._plan}

    def close(self) -> None:
        """Release the folder and keep it for the next attempt."""
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder: the output is whole, or there is nothing worth keeping."""
        self._forget_chunks()
        # The lock goes last, so that nobody begins in a folder that is being removed.
        with suppress(OSError):
            (self.folder / _LOCK).unlink()
            self.folder.rmdir()
        self._lock.close()

    def _forget_chunks(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()

    def _forget_damaged(self) -> None:
        """Chunks are whole when they get their name, but a disk may lose what it had taken."""
        for chunk in self._plan:
            path = self.path(chunk)
            whole = (file.exists() and is_whole(file) for file in map(partial(self.path, chunk), (None, *self._layers)))
            if path.exists() and not all(whole):
                path.unlink()


def chunk_path(folder: Path, chunk: Chunk, layer: str | None = None) -> Path:
    """Where a chunk's file goes in the folder of a run: the product's, which ends the chunk, or a layer's."""
    return folder / (f"{chunk.key}.tif" if layer is None else f"{chunk.key}.{layer}.tif")


def _lock(folder: Path, output: Path) -> TextIO:
    while True:
        try:
            folder.mkdir(exist_ok=True)
            strangers = [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
            if strangers:
                raise OutputError(f"{folder}, where unfinished runs are kept, holds {strangers[0]}: move it elsewhere")
            lock = (folder / _LOCK).open("w")
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ResumeError(f"another process is making {output}: wait for it, or write elsewhere") from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat()):
                return lock
        # Between opening and locking, the process that had the folder removed it: this lock is nobody's.
        lock.close()


def _read_manifest(path: Path) -> Manifest | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Manifest(content) if isinstance(content, dict) else None


def work_folder(output: Path) -> Path:
    """The folder of an output's unfinished run."""
    return output.with_name(f"{output.name}.geosr")
