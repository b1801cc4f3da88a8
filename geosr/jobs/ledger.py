"""The ledger of a run: a folder beside the output in which finished chunks are kept until the output is whole.

A chunk is finished when its file is there, for files appear complete or not at all. The folder is locked while a
process works in it; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from geosr.errors import ResumeError
from geosr.jobs.manifest import Manifest
from tiling import Chunk, ChunkPlan, OutputError, replacing

_MANIFEST = "manifest.json"


class Ledger:
    """Finished and pending chunks of one run."""

    def __init__(self, folder: Path, lock: TextIO, plan: ChunkPlan) -> None:
        self.folder = folder
        self._lock = lock
        self._plan = plan

    @classmethod
    def open(cls, output: Path, manifest: Manifest, plan: ChunkPlan, *, restart: bool = False) -> Ledger:
        """Open the ledger of ``output``, or begin one.

        Raises :class:`ResumeError` when another process has it, or when it is that of another run and ``restart`` is
        not set; :class:`tiling.OutputError` when the folder cannot be made.
        """
        folder = work_folder(output)
        try:
            folder.mkdir(exist_ok=True)
            lock = (folder / "lock").open("w")
        except OSError as error:
            raise OutputError(f"cannot write beside {output}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ResumeError(f"another process is making {output}: wait for it, or write elsewhere") from error
        ledger = cls(folder, lock, plan)
        try:
            ledger._adopt(manifest, output, restart)
        except BaseException:
            lock.close()
            raise
        return ledger

    def _adopt(self, manifest: Manifest, output: Path, restart: bool) -> None:
        path = self.folder / _MANIFEST
        if path.exists():
            earlier = Manifest(json.loads(path.read_text(encoding="utf-8")))
            if earlier.digest == manifest.digest:
                return
            if not restart:
                raise ResumeError(
                    f"{output} has an unfinished run with other settings, differing in "
                    f"{', '.join(manifest.differences(earlier))}: repeat those to finish it, or --restart to start over"
                )
            self._forget_chunks()
        with replacing(path) as temporary:
            temporary.write_text(manifest.text(), encoding="utf-8")

    def path(self, chunk: Chunk) -> Path:
        """Where a chunk's file is, or will be."""
        return self.folder / f"{chunk.key}.tif"

    def pending(self) -> Iterator[Chunk]:
        """Chunks that are not finished."""
        return (chunk for chunk in self._plan if not self.path(chunk).exists())

    @property
    def finished(self) -> int:
        """Number of finished chunks."""
        return sum(self.path(chunk).exists() for chunk in self._plan)

    def files(self) -> Mapping[str, Path]:
        """Every chunk's file by key."""
        return {chunk.key: self.path(chunk) for chunk in self._plan}

    def close(self) -> None:
        """Release the folder and keep it for the next attempt."""
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder: the output is whole, or there is nothing worth keeping."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _forget_chunks(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()


def forget(output: Path) -> None:
    """Remove what a run left that was killed after its output was whole, unless another process is at it."""
    folder = work_folder(output)
    if not folder.exists():
        return
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        shutil.rmtree(folder, ignore_errors=True)


def work_folder(output: Path) -> Path:
    """The folder of an output's unfinished run."""
    return output.with_name(f"{output.name}.geosr")
