"""Building a pair set, from a configuration to a folder of patches. It reads top to bottom."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import tiling
from geosr.errors import ExistsError, PairsError, ResumeError
from geosr.pairs.block_work import Unit, make_patch, measure, read_unit, shift_of
from geosr.pairs.config import PairsConfig
from geosr.pairs.execute import Work, run_units
from geosr.pairs.figures import Found
from geosr.pairs.index import INDEX, SHARDS, read_identity, write_index, write_shards
from geosr.pairs.plan import Block, blocks_of, identity_of
from geosr.pairs.report import write_report
from geosr.pairs.sources import find_matches
from geosr.progress import QuietReporter, Reporter
from geosr.registration.shift_surface import ShiftSurface, fit_surface
from geosr.run.locks import lock_folder

#: Folder of what is not finished.
WORK = "work"

#: What a set's folder may hold.
_OWN = (INDEX, SHARDS, WORK, "report.json", "report.html")


@dataclass(frozen=True)
class BuildRequest:
    """Request for a build: configuration, imagery and output."""

    config: PairsConfig
    data: Path
    """Folder of the configuration's files."""
    output: Path
    workers: int = 0
    """Worker processes on this machine; 0 for threads of this one."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute."""
    overwrite: bool = False
    """Replace a set that is another build's."""
    restart: bool = False
    """Forget an unfinished build with other settings."""


@dataclass(frozen=True)
class Built:
    """Result of a build."""

    output: Path
    kept: int
    """Patches in the set."""
    rejected: dict[str, int]
    """Patches left out, by reason."""


def build(request: BuildRequest, reporter: Reporter | None = None) -> Built:
    """Build a pair set.

    Killed at any moment and called again, it computes what is missing and leaves the same bytes.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    reporter = reporter or QuietReporter()
    config = request.config
    _check_packages()
    matches = find_matches(config, request.data)
    blocks = blocks_of(matches, config.patch_lr_px)
    if not blocks:
        raise PairsError(
            f"no block of {config.patch_lr_px} LR pixels lies under HR imagery: take a smaller patch_lr_px"
        )
    # Those of HR scenes speak of what models need of their input, which HR is not; the index has them too.
    for note in dict.fromkeys(note for match in matches for note in match.lr.scene.notes):
        reporter.note(note)
    identity = identity_of(config, matches)
    with _work_folder(request, identity) as (work, done):
        if done:
            reporter.note(f"{request.output} is up to date: nothing to do")
            return _summary(request.output)
        reporter.begin(
            f"{config.name}: {len(matches)} pairs of scenes, {len(blocks)} blocks of {config.patch_lr_px} LR pixels",
            2 * len(blocks),
            sum(1 for _ in work.glob("*/*.json")),
            2 * len(blocks) * config.patch_lr_px**2,
        )
        try:
            measures = [Unit(config, matches[block.match], block, work / "measures") for block in blocks]
            reporter.stage("measuring shifts")
            _run(measure, measures, request, reporter, before=0)
            before = [read_unit(unit.path) for unit in measures]
            surfaces = [_surface(number, blocks, before, config) for number in range(len(matches))]

            patches = [replace(unit, folder=work / "patches", surface=surfaces[unit.block.match]) for unit in measures]
            reporter.stage("making patches")
            _run(make_patch, patches, request, reporter, before=len(blocks))
            after = [read_unit(unit.path) for unit in patches]

            reporter.stage("writing the set")
            kept = [i for i, one in enumerate(after) if one["reason"] is None]
            places = write_shards(request.output, [patches[i] for i in kept], config.patches_per_shard)
            everything = Found(config, matches, surfaces, blocks, before, after)
            write_report(request.output, everything, [patches[i] for i in kept])
            listed = [(blocks[i], before[i], after[i]) for i in kept]
            write_index(request.output, config, identity, matches, surfaces, listed, places)
        finally:
            reporter.end()
    return _summary(request.output)


def _surface(
    number: int, blocks: Sequence[Block], before: Sequence[dict[str, Any]], config: PairsConfig
) -> ShiftSurface | None:
    """The shifts over one pair of scenes, from its blocks that show theirs well."""
    found = [
        (block.centre, shift)
        for block, shift in zip(blocks, map(shift_of, before), strict=True)
        if block.match == number
        and shift.error_px <= config.surface.max_error_px
        and shift.correlation >= config.surface.min_correlation
    ]
    places = np.array([place for place, _ in found]).reshape(-1, 2)
    shifts = np.array([(shift.rows_px, shift.cols_px) for _, shift in found]).reshape(-1, 2)
    return fit_surface(places, shifts, [shift.error_px for _, shift in found], config.surface.order)


def _run(work: Work, units: Sequence[Unit], request: BuildRequest, reporter: Reporter, *, before: int) -> None:
    """Do what is missing, and say how far all stages together are."""
    folder = units[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    pending = [unit for unit in units if not unit.path.exists()]
    finished = before + len(units) - len(pending)
    for key in run_units(work, pending, request.workers, request.scheduler):
        finished += 1
        reporter.chunk(key, finished, 2 * len(units))


@contextmanager
def _work_folder(request: BuildRequest, identity: str) -> Iterator[tuple[Path, bool]]:
    """The folder of unfinished work, locked, and whether the set is complete already. It goes when all is well.

    Raises :class:`ExistsError` or :class:`ResumeError` for a folder that is another build's.
    """
    output = request.output
    if output.exists() and not output.is_dir():
        raise ExistsError(f"{output} is a file: name a folder")
    # A build that was killed may have left the draft of a file.
    own = {*_OWN, *(f".{name}.part" for name in _OWN)}
    foreign = sorted(path.name for path in output.iterdir() if path.name not in own) if output.exists() else []
    if foreign:
        raise ExistsError(f"{output} holds other files, as {foreign[0]}: name a folder of the set's own")
    output.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(output / WORK, output)
    whole = False
    try:
        complete = read_identity(output)
        if complete is not None and complete != identity:
            if not request.overwrite:
                raise ExistsError(f"{output} holds another set: give --overwrite, or another folder")
            _clear(output)
        if complete != identity:
            _begin(request, output / WORK / "identity", identity)
        yield output / WORK, complete == identity
        whole = True
    finally:
        if whole or not (output / WORK / "identity").exists():
            shutil.rmtree(output / WORK, ignore_errors=True)
        lock.release()


def _begin(request: BuildRequest, path: Path, identity: str) -> None:
    """See that unfinished work is this build's."""
    if path.exists() and path.read_text(encoding="utf-8") != identity:
        if not request.restart:
            raise ResumeError(
                f"{request.output} has an unfinished build of other imagery or settings: give --restart to forget it, "
                "or name another folder"
            )
        _clear(request.output)
        for name in ("measures", "patches"):
            shutil.rmtree(path.parent / name, ignore_errors=True)
    tiling.write(path, [identity.encode()])


def _clear(output: Path) -> None:
    """Take a finished set away; the index first, so that no half of it looks whole."""
    for name in (INDEX, "report.json", "report.html"):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / SHARDS, ignore_errors=True)


def _summary(output: Path) -> Built:
    report = read_unit(output / "report.json")
    return Built(output, report["patches"]["kept"], dict(Counter(report["patches"]["rejected"])))


def _check_packages() -> None:
    missing = [name for name in ("skimage", "matplotlib") if find_spec(name) is None]
    if missing:
        raise PairsError("building pairs needs packages of its own: pip install 'geosr[train]'")
