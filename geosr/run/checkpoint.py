"""The ledger of a run: a folder beside the output in which finished chunks are kept until the output is whole.

A chunk is finished when its file is there, for files appear complete or not at all; what else is made of it has files
of its own, which are there before. The folder is locked while a process works in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from catalog import UnreachableError
from geosr.errors import ResumeError, WorkerError
from geosr.run.locks import LOCK, Lock, lock_folder
from geosr.run.manifest import Manifest
from tiling import (
    Chunk,
    ChunkFile,
    ChunkPlan,
    DiskFullError,
    Location,
    OutputError,
    derived_name,
    is_remote,
    is_whole,
    read_chunk,
    write,
)
from tiling.storage import explained

if TYPE_CHECKING:
    from geosr.run.upscale_run import Run

_MANIFEST = "manifest.json"

#: Tag of a chunk's file with the digest of the run that it is of.
RUN = "RUN"

#: Names of the files that a run has in its folder, whole and half-written.
_OURS = re.compile(
    r"lock|\.?manifest\.json(\.part)?|\.?r\d+c\d+(\.[a-z]+)?\.tif(\.[0-9a-f]+)?(\.part)?|\.?(mosaic|ready|item)\..*"
)

#: Errors after which the same run later, with more space or with fewer workers, may go on; no other is mended so.
_RESUMABLE = (KeyboardInterrupt, MemoryError, UnreachableError, OutputError, WorkerError)

#: Files that are looked at at a time: storage answers each after a while, but many together.
_AT_A_TIME = 16


class Ledger:
    """Finished and pending chunks of one run."""

    def __init__(
        self, folder: Location, lock: Lock, plan: ChunkPlan, manifest: Manifest, layers: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self._run = manifest.digest
        self._lock = lock
        self._plan = plan
        self._layers = tuple(layers)
        self.computing = False
        """Set when an attempt begins to compute: an error before that says nothing about chunks that are finished."""

    @classmethod
    def open(
        cls,
        output: Location,
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
        folder = work_folder(output)
        strangers = [name for name in _names_in(folder) if not _OURS.fullmatch(name)]
        if strangers:
            raise OutputError(f"{folder}, where unfinished runs are kept, holds {strangers[0]}: move it elsewhere")
        ledger = cls(folder, lock_folder(folder, output), plan, manifest, layers)
        try:
            ledger._adopt(manifest, output, restart)
        except BaseException:
            if _names_in(folder) <= {LOCK}:
                ledger.remove()
            else:
                ledger.close()
            raise
        return ledger

    def _adopt(self, manifest: Manifest, output: Location, restart: bool) -> None:
        earlier = _read_manifest(self.folder)
        if earlier is not None and earlier.digest == manifest.digest:
            # What kills have left half-written would add up.
            _remove(self.folder / name for name in _names_in(self.folder) if name.endswith(".part"))
            self.forget_damaged()
            return
        if earlier is not None and not restart:
            raise ResumeError(
                f"{output} has an unfinished run with other settings, differing in "
                f"{', '.join(manifest.differences(earlier))}: repeat those to finish it, or --restart to start over"
            )
        # Without a manifest nobody knows what run chunks belong to.
        self._forget_chunks()
        write(self.folder / _MANIFEST, [manifest.text().encode()])

    def path(self, chunk: Chunk, layer: str | None = None) -> Location:
        """Path of a chunk's file."""
        return chunk_path(self.folder, chunk, layer)

    def ready(self, layer: str) -> Location:
        """Path at which a whole layer waits until the product is whole, too."""
        return self.folder / f"ready.{layer}.tif"

    def pending(self) -> list[Chunk]:
        """Chunks that are not finished; those of one size together, the largest first."""
        there = _names_in(self.folder)
        left = [chunk for chunk in self._plan if self.path(chunk).name not in there]
        return sorted(left, key=lambda chunk: (chunk.core.height, chunk.core.width), reverse=True)

    @property
    def finished(self) -> int:
        """Number of finished chunks."""
        return len(self._plan) - len(self.pending())

    def files(self, layer: str | None = None) -> Mapping[str, ChunkFile]:
        """Every chunk's file by key, of the product or of a layer; all have to be there.

        Raises :class:`WorkerError` when one is another run's, whose worker wrote it after that run was given up.
        """
        chunks = list(self._plan)
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            files = list(pool.map(lambda chunk: read_chunk(self.path(chunk, layer)), chunks))
        foreign = [chunk for chunk, file in zip(chunks, files, strict=True) if file.tags.get(RUN) != self._run]
        if foreign:
            # The product's file is what makes a chunk finished.
            _remove(self.path(chunk) for chunk in foreign)
            raise WorkerError(
                f"{len(foreign)} chunks in {self.folder} were written by late workers of another run: the same command "
                "computes them anew"
            )
        return {chunk.key: file for chunk, file in zip(chunks, files, strict=True)}

    def close(self) -> None:
        """Release the folder and keep it for the next attempt."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the folder: the output is whole, or there is nothing worth keeping."""
        self._forget_chunks()
        if is_remote(self.folder):
            self._lock.release()
            return
        # The lock goes last, so that nobody begins in a folder that is being removed.
        with suppress(OSError):
            (self.folder / LOCK).unlink()
            self.folder.rmdir()
        self._lock.release()

    def _forget_chunks(self) -> None:
        _remove(self.folder / name for name in _names_in(self.folder) if name != LOCK)

    def forget_damaged(self, known: Location | None = None) -> int:
        """Remove finished chunks whose files are not what was written, so that they are pending again.

        A disk may lose or change what it had taken. In storage, ``known`` is a damaged file that was found when its
        bytes were read. Returns the number of chunks.
        """
        there = _names_in(self.folder)
        finished = [chunk for chunk in self._plan if self.path(chunk).name in there]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            whole = list(pool.map(self._is_whole, finished))
        key = None if known is None else known.name.partition(".")[0]
        damaged = [chunk for chunk, good in zip(finished, whole, strict=True) if not good or chunk.key == key]
        _remove(self.path(chunk) for chunk in damaged)
        return len(damaged)

    def _is_whole(self, chunk: Chunk) -> bool:
        return all(is_whole(self.path(chunk, layer)) for layer in (None, *self._layers))


@contextmanager
def open_ledger(run: Run, *, restart: bool) -> Iterator[Ledger]:
    """Open the ledger of a run; at the end it is kept where the same run may go on from it, and else removed.

    Raises as :meth:`Ledger.open`.
    """
    layers = [layer.name for layer in run.layers]
    ledger = Ledger.open(run.output, run.manifest, run.plan, layers=layers, restart=restart)
    keep = False
    try:
        yield ledger
    except BaseException as error:
        keep = (not ledger.computing or isinstance(error, _RESUMABLE)) and ledger.finished > 0
        if keep and isinstance(error, DiskFullError):
            raise DiskFullError(f"{error}; what is finished is kept, and the same command goes on") from error
        raise
    finally:
        if keep:
            ledger.close()
        else:
            ledger.remove()


def chunk_path(folder: Location, chunk: Chunk, layer: str | None = None) -> Location:
    """Path of a chunk's file in the folder of a run: the product's, which ends the chunk, or a layer's."""
    return folder / (f"{chunk.key}.tif" if layer is None else f"{chunk.key}.{layer}.tif")


def work_folder(output: Location) -> Location:
    """The folder of an output's unfinished run.

    ``out.tif`` and ``out.tiff`` share one, for they share a STAC Item.
    """
    return output.with_name(derived_name(f"{output.stem}.tif", suffix=".geosr"))


def unfinished(output: Location) -> Manifest | None:
    """Manifest of an output's unfinished run, where there is one."""
    return _read_manifest(work_folder(output))


def _names_in(folder: Location) -> set[str]:
    with explained(folder):
        try:
            return {path.name for path in folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            return set()


def _remove(paths: Iterable[Location]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(_unlink, paths))


def _unlink(path: Location) -> None:
    with explained(path), suppress(FileNotFoundError):
        path.unlink()


def _read_manifest(folder: Location) -> Manifest | None:
    path = folder / _MANIFEST
    with explained(path):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
    return Manifest(content) if isinstance(content, dict) else None
