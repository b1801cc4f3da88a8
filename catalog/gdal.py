"""The one place that opens rasters."""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from catalog.errors import ReadError, RefusedError, SourceError, UnreachableError
from catalog.paths import SYSTEMS, file_stamp, is_remote, without_queries, without_query
from catalog.restriction import Restriction
from catalog.web import CONNECT_S, STALLED_S, TOTAL_S

# A raster without a place is refused, or noted, where that matters. The filter is set once: to change filters around
# each call is not safe with threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


class _WithoutSecrets(logging.Filter):
    """Takes what grants access out of the addresses that GDAL, by way of rasterio, logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_queries(record.getMessage()), ()
        return True


for _name in ("rasterio._env", "rasterio._err", "rasterio._io", "rasterio._base"):
    logging.getLogger(_name).addFilter(_WithoutSecrets())

#: GDAL's cache of decoded blocks, bytes, which is the unit of rasterio's GDAL_CACHEMAX: a row of JPEG 2000 tiles of a
#: product's four bands is 92 MB.
_CACHE_BYTES = 160 * 2**20

#: Single requests that a flaky server fails are repeated once or twice, and reads as a whole by
#: :func:`catalog.web.patient`; a request that gets no byte for long, or takes longer than any answer may, is given up.
#: Local rasters, too, may be made of remote ones.
_HTTP = {
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_TIMEOUT": int(TOTAL_S),
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": CONNECT_S,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
    "GDAL_HTTP_LOW_SPEED_TIME": STALLED_S,
    # What came of a file is forgotten when it is closed: half an answer would be kept for ever, and so would a file
    # that has changed since.
    "CPL_VSIL_CURL_NON_CACHED": ":".join(SYSTEMS),
}

#: Files beside a remote raster are not looked for.
_REMOTE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": True}

#: Decoding a PNG in one go fills what a truncated file lacks with whatever is in memory; by rows it is an error.
_DECODING = {"GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}

#: Rasters that a thread keeps open: the bands of as many dates as make one image.
_KEPT_OPEN = 64

#: Endings of files that hold a raster's mask, nodata and radiometry outside it.
_BESIDE = (".msk", ".aux.xml")

#: Size and time of change of files, None for those that are not there.
_Stamps = dict[str, tuple[int, int] | None]


class _Kept:
    """Rasters that a thread keeps open. Other threads close them only between its reads."""

    def __init__(self) -> None:
        self.reading = threading.RLock()
        self.depth = 0
        """Blocks that the thread is in, one inside the other, each with a raster."""
        self.stale = False
        """True if the thread must close everything after its current read."""
        self.rasters: OrderedDict[tuple[str, Restriction | None], tuple[_Stamps, DatasetReader]] = OrderedDict()
        """By path and by what could be opened when it was, the one used last at the end."""

    def close(self, which: Callable[[str, _Stamps], bool]) -> None:
        """Close the rasters whose path and stamps are to go."""
        for key in [key for key, (stamps, _) in self.rasters.items() if which(key[0], stamps)]:
            self.rasters.pop(key)[1].close()


_of_thread = threading.local()

#: Those of all threads; one goes with its thread.
_all_kept: weakref.WeakSet[_Kept] = weakref.WeakSet()
_all_kept_lock = threading.Lock()

_restriction: Restriction | None = None


def restrict(restriction: Restriction | None) -> None:
    """Limit what this process may open from now on.

    Parameters
    ----------
    restriction
        Allowed files and hosts; None for anything, as at the start.

    """
    global _restriction
    _restriction = restriction


@contextmanager
def restricted(restriction: Restriction | None) -> Iterator[None]:
    """Limit what this thread may open inside a block, whatever its process may open.

    Parameters
    ----------
    restriction
        Allowed files and hosts; None for no change.

    Yields
    ------
    None
        Nothing.

    """
    before = getattr(_of_thread, "restriction", None)
    _of_thread.restriction = before if restriction is None else restriction
    try:
        yield
    finally:
        _of_thread.restriction = before


def restriction_in_force() -> Restriction | None:
    """Return the limits of this thread.

    Returns
    -------
    Restriction | None
        Allowed files and hosts; None for anything.

    """
    own: Restriction | None = getattr(_of_thread, "restriction", None)
    return _restriction if own is None else own


def check_allowed(path: str) -> None:
    """Raises :class:`RefusedError` for a path or address that this thread must not open."""
    restriction = restriction_in_force()
    if restriction is not None:
        restriction.check(path)


@contextmanager
def open_raster(path: str) -> Iterator[DatasetReader]:
    """Open a local path, a URL or a ``/vsi`` path for reading, in an environment of its own.

    A thread keeps what it opened, for opening anew would forget what was decoded: neighbouring chunks of a JPEG 2000
    file share its tiles.

    Raises :class:`SourceError` when it cannot be opened, :class:`RefusedError` when it must not be, and
    :class:`ReadError` when reading fails inside the block.
    """
    options = {**_DECODING, **_HTTP, **(_REMOTE if is_remote(path) else {})}
    with _reading() as kept, rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, **options):
        raster = _raster(kept, path)
        try:
            yield raster
        except (RasterioError, CPLE_BaseError) as error:
            # rasterio lets some of GDAL's own errors through.
            kept.close(lambda one, _: one == path)
            raise read_error(path, error) from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{without_query(path)} has text that is not UTF-8, as names of bands: write it anew with others"
            ) from error


def forget(path: str) -> None:
    """Close rasters that threads keep open of a file or of files below a folder, because it was deleted or may have
    changed.

    As long as a deleted file is open, the system keeps its bytes. A thread that is reading closes all that it has after
    the read.

    Parameters
    ----------
    path
        File, folder or address.

    """

    def concerned(one: str) -> bool:
        return one == path or one.startswith(path.rstrip("/") + "/")

    with _all_kept_lock:
        everyones = list(_all_kept)
    for kept in everyones:
        # The lock of the thread itself is no hindrance to it, but it may be reading.
        if not kept.reading.acquire(blocking=False):
            kept.stale = True
            continue
        try:
            if kept.depth:
                kept.stale = True
            else:
                kept.close(lambda one, stamps: concerned(one) or any(map(concerned, stamps)))
        finally:
            kept.reading.release()


def colours_of(raster: DatasetReader) -> tuple[ColorInterp, ...]:
    """Colour interpretation of each band.

    rasterio takes a colour's number for an error code, and raises whatever went wrong last in the thread, which is
    over and was dealt with. Raising it clears it.
    """
    try:
        return tuple(raster.colorinterp)
    except CPLE_BaseError:
        return tuple(raster.colorinterp)


def files_of(path: str) -> tuple[str, ...]:
    """Every local file that reading a raster reads: the path itself, what lies beside it, and what it is made of.

    Raises :class:`RefusedError` for what must not be opened.
    """
    return tuple(part for part in parts_of(path) if not is_remote(part))


def parts_of(path: str) -> tuple[str, ...]:
    """List a raster and all files and addresses that it is made of, local or remote.

    Rasters that others are made of may be virtual themselves, or named as GDAL names parts of files. Raises
    :class:`RefusedError` for what must not be opened.
    """
    found: list[str] = []
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.append(one)
        if is_remote(one):
            continue
        if one == path or one.lower().endswith(".vrt") or not Path(one).is_file():
            try:
                with open_raster(one) as raster:
                    waiting += raster.files
            except RefusedError:
                raise
            except SourceError:
                # What cannot be opened is told of where its pixels are needed.
                continue
    return tuple(found)


def read_error(path: str, error: Exception) -> ReadError:
    """Make the error for pixels of an open raster that cannot be read."""
    if is_remote(path):
        return UnreachableError(f"cannot read {without_query(path)}: {_detail(error)}", path)
    return ReadError(f"cannot read {path}: the file is damaged or incomplete ({_detail(error)})")


@contextmanager
def _reading() -> Iterator[_Kept]:
    """Yield the rasters that this thread keeps open; no other thread closes them inside the block."""
    kept: _Kept | None = getattr(_of_thread, "kept", None)
    if kept is None:
        kept = _of_thread.kept = _Kept()
        with _all_kept_lock:
            _all_kept.add(kept)
    with kept.reading:
        _close_stale(kept)
        kept.depth += 1
        try:
            yield kept
        finally:
            kept.depth -= 1
            _close_stale(kept)


def _close_stale(kept: _Kept) -> None:
    if kept.stale and not kept.depth:
        kept.stale = False
        kept.close(lambda *_: True)


def _raster(kept: _Kept, path: str) -> DatasetReader:
    """The open raster of a path that the thread has, as long as the file has not changed."""
    restriction = restriction_in_force()
    # What was opened for work that may open anything is not there for work that may not.
    key = path, restriction
    if key in kept.rasters and (is_remote(path) or _unchanged(kept.rasters[key][0])):
        kept.rasters.move_to_end(key)
        return kept.rasters[key][1]
    if kept.depth == 1:
        # Files that are there no more, or are others by now: to look is little beside opening one.
        kept.close(lambda one, stamps: not is_remote(one) and not _unchanged(stamps))
    kept.close(lambda one, _: one == path)
    raster = _open(path, restriction)
    kept.rasters[key] = ({} if is_remote(path) else _stamps_of(path, raster), raster)
    while len(kept.rasters) > _KEPT_OPEN:
        kept.rasters.popitem(last=False)[1][1].close()
    return raster


def _open(path: str, restriction: Restriction | None) -> DatasetReader:
    if restriction is not None:
        restriction.check(path)
    try:
        raster = rasterio.open(path, driver=None if restriction is None else restriction.driver_of(path))
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise _open_error(path, error) from error
    # A GeoTIFF may say that its overviews are in another file, which any driver opens.
    if restriction is not None and raster.tags(ns="OVERVIEWS"):
        raster.close()
        raise RefusedError(f"{without_query(path)} has overviews in another file, which may not be read")
    return raster


def _stamps_of(path: str, raster: DatasetReader) -> _Stamps:
    """Stamps of the files under an open raster, which may be a part of one or made of several, and beside it."""
    return {file: file_stamp(file) for file in (path, *(path + beside for beside in _BESIDE), *raster.files)}


def _unchanged(stamps: _Stamps) -> bool:
    return any(stamps.values()) and all(file_stamp(file) == stamp for file, stamp in stamps.items())


def _open_error(path: str, error: Exception) -> SourceError:
    if is_remote(path):
        return UnreachableError(f"cannot open {without_query(path)}: {_detail(error)}", path)
    local = Path(path)
    if not path.startswith("/vsi") and not local.exists():
        return SourceError(f"{path} does not exist")
    if local.is_dir():
        inside = sorted(one.name for one in local.glob("*.SAFE"))
        choice = f": name one of those in it, as {local / inside[0]}" if inside else ""
        return SourceError(f"{path} is a folder, and not a .SAFE product{choice}")
    return SourceError(f"{path} is not a raster that can be read: {_detail(error)}")


def _detail(error: BaseException) -> str:
    """GDAL's own words, which rasterio keeps as the cause."""
    cause = error.__cause__
    text = str(cause if cause is not None else error).strip().rstrip(".")
    return without_queries(text).splitlines()[0] if text else type(error).__name__
