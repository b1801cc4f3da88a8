"""Fixtures and helpers of all tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any
from unittest import mock

import numpy as np
import pytest
import rasterio
import typer
from hypothesis import settings
from pystac.validation import validate_dict
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin

from catalog import gdal, web
from geosr.cli.main import main
from tests.warm import run_warm

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "geosr" / "data" / "sample.tif"

#: Imagery and recorded catalogue answers, which are not part of the repository.
DATA = Path(os.environ.get("GEOSR_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

# How long an example takes depends on the machine, and on what else it does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

RGBN = ("B02", "B03", "B04", "B08")


#: Seconds of the first wait for a server that fails, as users have it.
FIRST_WAIT_S = web.FIRST_WAIT_S


def pytest_configure(config: pytest.Config) -> None:
    """Let interrupts reach the processes that tests start: a suite in a shell's background would ignore them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits for servers that fail: how long they are meant to be is asserted where nobody waits."""
    monkeypatch.setattr(web, "FIRST_WAIT_S", 0.001)
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_RETRY_DELAY", 0.001)


def data_file(name: str) -> Path:
    """A file of the development data; the test is skipped where that is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs the development data: {path} is absent (GEOSR_TEST_DATA names its folder)")
    return path


@cache
def _sample() -> np.ndarray:
    with rasterio.open(SAMPLE) as raster:
        return raster.read()


@pytest.fixture
def sample() -> np.ndarray:
    """The bundled sample's DN, (4, 300, 300)."""
    return _sample().copy()


def write_raster(
    path: Path,
    pixels: np.ndarray,
    *,
    names: Sequence[str] = RGBN,
    crs: str | None = "EPSG:32633",
    transform: Affine | None = None,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    driver: str = "GTiff",
    **options: Any,
) -> Path:
    """Write ``(bands, rows, cols)`` with band names."""
    if transform is None:
        transform = from_origin(359130, 5352340, 10, 10)
    with rasterio.open(
        path,
        "w",
        driver=driver,
        dtype=pixels.dtype,
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        crs=crs,
        transform=transform,
        nodata=nodata,
        **options,
    ) as raster:
        raster.write(pixels)
        if names:
            raster.descriptions = tuple(names)
        if scale is not None:
            raster.scales = (scale,) * len(pixels)
        if offset is not None:
            raster.offsets = (offset,) * len(pixels)
    return path


def read_raster(path: Path) -> np.ndarray:
    """All pixels of a raster."""
    with rasterio.open(path) as raster:
        return raster.read()


def assert_valid_item(path: Path) -> None:
    """Hold an Item against STAC's own schema, which pystac carries; those of extensions are on the network only."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["stac_version"] == "1.1.0"
    assert len(validate_dict(content, extensions=[])) == 1


_parser_of = cache(typer.main.get_command)


def call_geosr(*arguments: object) -> int:
    """Run the command in this process, for what does not depend on its start; returns its exit code."""
    with (
        mock.patch.object(sys, "argv", ["geosr", *map(str, arguments)]),
        # Made of every option of every command, the parser takes longer than many a command.
        mock.patch.object(typer.main, "get_command", _parser_of),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@contextmanager
def _redirected(stream: str, number: int, file: IO[bytes]) -> Iterator[None]:
    """Write what Python and what libraries print on one of the two outputs to a file."""
    kept = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        with open(file.fileno(), "w", encoding="utf-8", closefd=False) as text, mock.patch.object(sys, stream, text):
            yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


def run_here(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as :func:`call_geosr` does, and return all that :func:`run_geosr` returns."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        chdir(cwd or Path.cwd()),
        mock.patch.dict(os.environ, environment),
        warnings.catch_warnings(),
        _redirected("stdout", 1, out),
        _redirected("stderr", 2, err),
    ):
        # Warnings are shown as a process shows them; pytest would keep them to itself.
        warnings.resetwarnings()
        hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
        # The last as catalog.gdal hides it.
        for category in (*hidden, NotGeoreferencedWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = _show_warning
        code = call_geosr(*arguments)
        for file in (sys.stdout, sys.stderr):
            file.flush()
        texts = [file.read().decode() for file in (out, err) if not file.seek(0)]
    return subprocess.CompletedProcess(["geosr", *map(str, arguments)], code, *texts)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def run_geosr(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a user does; that begins warm if Python's settings allow it."""
    variables = {**os.environ, **environment}
    if not any(name.startswith("PYTHON") for name in environment):
        return run_warm("geosr", *arguments, cwd=cwd, environment=variables)
    return subprocess.run(
        [sys.executable, "-m", "geosr", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        timeout=300,
        check=False,
    )
