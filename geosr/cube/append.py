"""From products to a cube, date by date. It reads top to bottom."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from geosr.cube.dates import CubeDate, dates_of
from geosr.cube.layout import FORM, records_of
from geosr.cube.netcdf_file import NetcdfFile
from geosr.cube.zarr_store import ZarrStore
from geosr.errors import ExistsError, GeosrError, UsageError
from geosr.progress import QuietReporter, Reporter
from geosr.run.locks import LOCK, lock_folder
from tiling.storage import explained


class CubeStore(Protocol):
    """A cube on a disk, readable at any time."""

    path: Path

    def attributes(self) -> Mapping[str, Any]: ...

    def create(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None: ...

    def append(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None: ...


@dataclass(frozen=True)
class CubeRequest:
    """Products, and where to write."""

    sources: tuple[str, ...]
    """Products, folders of them, rasters, ``.SAFE`` products or STAC Items, all on one grid."""
    output: Path
    """``.zarr`` or ``.nc``."""
    overwrite: bool = False


@dataclass(frozen=True)
class CubeResult:
    """A cube, and what was done for it."""

    cube: str
    added: tuple[str, ...]
    """Products that were added."""
    skipped: tuple[str, ...]
    """Products that were there already."""
    dates: int
    """Dates that it has now."""


#: Kinds of cubes by their endings, and what each needs.
_KINDS: dict[str, tuple[type[ZarrStore] | type[NetcdfFile], tuple[str, ...]]] = {
    ".zarr": (ZarrStore, ("zarr",)),
    ".nc": (NetcdfFile, ("h5netcdf", "h5py")),
}


def build_cube(request: CubeRequest, reporter: Reporter | None = None) -> CubeResult:
    """Make a cube of products, or append those that it lacks.

    The cube is readable at any time, and a date appears in it whole or not at all.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    reporter = reporter or QuietReporter()
    store = _store_of(request)
    dates = dates_of(request.sources)
    output = request.output.absolute()
    work = output.with_name(f".{output.name}.geosr")
    lock = lock_folder(work, output)
    try:
        _clear(work)
        return _build(request, store, dates, work, reporter)
    finally:
        _clear(work)
        with suppress(OSError):
            (work / LOCK).unlink()
            work.rmdir()
        lock.release()
        reporter.end()


def _store_of(request: CubeRequest) -> CubeStore:
    output = request.output
    if "://" in str(output) or ":/" in str(output):
        raise UsageError(f"a cube is written to a disk, not to {output}: write it there, and copy it")
    kind = _KINDS.get(output.suffix.lower())
    if kind is None:
        raise UsageError(f"a cube is written as {' or '.join(_KINDS)}, not {output.suffix or output.name}")
    missing = [name for name in kind[1] if find_spec(name) is None]
    if missing:
        raise GeosrError(f"{output.suffix} needs {' and '.join(missing)}: python -m pip install 'geosr[cube]'")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist")
    if output.exists() and output.is_dir() != (kind[0] is ZarrStore):
        raise ExistsError(f"{output} is a {'folder' if output.is_dir() else 'file'}, and no cube: write elsewhere")
    for source in request.sources if output.exists() else ():
        if "://" not in source and Path(source).exists() and output.samefile(source):
            raise UsageError(f"{output} is a source: write elsewhere")
    return kind[0](output)


def _build(
    request: CubeRequest, store: CubeStore, dates: Sequence[CubeDate], work: Path, reporter: Reporter
) -> CubeResult:
    fresh = request.overwrite or not store.path.exists()
    records = [] if fresh else _checked_records(store, dates)
    there = {record["time"] for record in records}
    added, skipped = [], []
    for number, date in enumerate(dates, start=1):
        if date.record["time"] in there:
            skipped.append(date.image.name)
            continue
        reporter.note(f"date {number} of {len(dates)}: {date.image.name}, {date.image.time:%Y-%m-%d %H:%M} UTC")
        records.append(date.record)
        with explained(store.path):
            (store.append if len(records) > 1 else store.create)(date, records, work)
        _clear(work)
        added.append(date.image.name)
    return CubeResult(str(store.path), tuple(added), tuple(skipped), len(records))


def _checked_records(store: CubeStore, dates: Sequence[CubeDate]) -> list[dict[str, str]]:
    """Products that a cube holds, once the new ones fit behind them."""
    attributes = store.attributes()
    if attributes[FORM] != dates[0].form.digest():
        raise ExistsError(
            f"{store.path} is of products with another grid, bands, scale or half-widths than "
            f"{dates[0].image.source}: write another cube, or --overwrite"
        )
    records = records_of(attributes)
    by_time = {record["time"]: record for record in records}
    last = max(by_time)
    for record in (date.record for date in dates):
        own = by_time.get(record["time"])
        if own is not None and own != record:
            raise ExistsError(
                f"{store.path} has {own['name']} of {record['time']} with other pixels than {record['name']}: write "
                "another cube, or --overwrite"
            )
        if own is None and record["time"] < last:
            raise ExistsError(
                f"{record['name']} of {record['time']} is before the last date of {store.path}, which is appended to: "
                "--overwrite makes it anew with all dates"
            )
    return records


def _clear(work: Path) -> None:
    """Remove what is in a folder, but for the lock."""
    for path in work.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
