"""The one place that opens rasters."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from catalog.errors import ReadError, SourceError, UnreachableError

# A raster without a place is refused, or noted, where that matters. The filter is set once: to change filters around
# each call is not safe with threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

#: Decoded blocks are kept between reads, up to this many MB: a row of JPEG 2000 tiles of a product's four bands is 92.
_CACHE_MB = 256

#: Requests that a flaky server fails are repeated; files beside a remote raster are not looked for.
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": True,
}

#: Rasters that a thread keeps open: the bands of a few scenes.
_KEPT_OPEN = 16

_of_thread = threading.local()


@contextmanager
def open_raster(path: str) -> Iterator[DatasetReader]:
    """Open a local path, a URL or a ``/vsi`` path for reading, in an environment of its own.

    A thread keeps what it opened, for opening anew would forget what was decoded: neighbouring chunks of a JPEG 2000
    file share its tiles.

    Raises :class:`SourceError` when it cannot be opened, :class:`ReadError` when reading fails inside the block.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **(_REMOTE if is_remote(path) else {})):
        raster = _kept(path)
        try:
            yield raster
        except (RasterioError, CPLE_BaseError) as error:
            # rasterio lets some of GDAL's own errors through.
            _forget(path)
            raise read_error(path, error) from error


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
    """Every local file that reading a raster reads: the path itself, and what a virtual raster is made of."""
    found: list[str] = []
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in found or is_remote(one):
            continue
        found.append(one)
        if one == path or one.lower().endswith(".vrt"):
            with open_raster(one) as raster:
                waiting += raster.files
    return tuple(found)


def read_error(path: str, error: Exception) -> ReadError:
    """What to raise when pixels of an open raster do not come."""
    if is_remote(path):
        return UnreachableError(f"cannot read {without_query(path)}: {_detail(error)}")
    return ReadError(f"cannot read {path}: the file is damaged or incomplete ({_detail(error)})")


def is_remote(path: str) -> bool:
    """Whether pixels come over a network."""
    schemes = ("http://", "https://", "s3://", "gs://", "az://", "oss://", "swift://")
    systems = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsihdfs", "/vsiwebhdfs")
    return path.startswith(schemes) or any(system in path for system in systems)


def without_query(path: str) -> str:
    """An address without what may be a secret: the query of a signed URL."""
    return path.partition("?")[0] if is_remote(path) else path


def file_stamp(path: str) -> tuple[int, int] | None:
    """Size and time of change of a local file, also of one inside a zip's path; None for anything else."""
    local = Path(path.removeprefix("/vsizip/").partition(".zip/")[0] + ".zip" if "/vsizip/" in path else path)
    if is_remote(path) or not local.is_file():
        return None
    status = local.stat()
    return status.st_size, status.st_mtime_ns


def _kept(path: str) -> DatasetReader:
    """The open raster of a path that the thread has, as long as the file has not changed."""
    rasters: OrderedDict[str, tuple[Any, DatasetReader]] = _of_thread.__dict__.setdefault("rasters", OrderedDict())
    stamp = file_stamp(path)
    if path in rasters and rasters[path][0] == stamp and (stamp is not None or is_remote(path)):
        rasters.move_to_end(path)
        return rasters[path][1]
    _forget(path)
    try:
        raster = rasterio.open(path)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise _open_error(path, error) from error
    rasters[path] = (stamp, raster)
    while len(rasters) > _KEPT_OPEN:
        rasters.popitem(last=False)[1][1].close()
    return raster


def _forget(path: str) -> None:
    kept = _of_thread.__dict__.setdefault("rasters", OrderedDict()).pop(path, None)
    if kept is not None:
        kept[1].close()


def _open_error(path: str, error: Exception) -> SourceError:
    if is_remote(path):
        return UnreachableError(f"cannot open {without_query(path)}: {_detail(error)}")
    local = Path(path)
    if not path.startswith("/vsi") and not local.exists():
        return SourceError(f"{path} does not exist")
    if local.is_dir():
        return SourceError(f"{path} is a folder, and not a .SAFE product")
    return SourceError(f"{path} is not a raster that can be read: {_detail(error)}")


def _detail(error: BaseException) -> str:
    """GDAL's own words, which rasterio keeps as the cause."""
    cause = error.__cause__
    text = str(cause if cause is not None else error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__
