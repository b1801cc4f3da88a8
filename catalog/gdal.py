"""The one place that opens rasters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from catalog.errors import ReadError, SourceError, UnreachableError

#: Requests that a flaky server fails are repeated; files beside a remote raster are not looked for.
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": True,
}


@contextmanager
def open_raster(path: str) -> Iterator[DatasetReader]:
    """Open a local path, a URL or a ``/vsi`` path for reading, in an environment of its own.

    Raises :class:`SourceError` when it cannot be opened, :class:`ReadError` when reading fails inside the block.
    """
    options = _REMOTE if is_remote(path) else {}
    with rasterio.Env(**options):
        try:
            with warnings.catch_warnings():
                # A plain image is expected here, and said to be one where it matters.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                raster = rasterio.open(path)
        except (RasterioError, OSError) as error:
            raise SourceError(_explain_open(path, error)) from error
        with raster:
            try:
                yield raster
            except RasterioError as error:
                raise read_error(path, error) from error


def read_error(path: str, error: Exception) -> ReadError:
    """What to raise when pixels of an open raster do not come."""
    if is_remote(path):
        return UnreachableError(f"cannot read {path}: {_detail(error)}")
    return ReadError(f"cannot read {path}: the file is damaged or incomplete ({_detail(error)})")


def is_remote(path: str) -> bool:
    """Whether pixels come over a network."""
    return path.startswith(("http://", "https://", "s3://", "gs://", "az://", "/vsicurl", "/vsis3", "/vsigs", "/vsiaz"))


def _explain_open(path: str, error: Exception) -> str:
    if is_remote(path):
        return f"cannot open {path}: {_detail(error)}"
    local = Path(path)
    if not path.startswith("/vsi") and not local.exists():
        return f"{path} does not exist"
    if local.is_dir():
        return f"{path} is a folder, and not a .SAFE product"
    return f"{path} is not a raster that can be read: {_detail(error)}"


def _detail(error: BaseException) -> str:
    """GDAL's own words, which rasterio keeps as the cause."""
    cause = error.__cause__
    return str(cause if cause is not None else error).strip().rstrip(".")
