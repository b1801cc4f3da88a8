"""QGIS as it is installed on this machine; tests that need it are skipped where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: Environment variables of this Python that would mislead another one.
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def qgis_program(name: str) -> str:
    """Path of a program of QGIS; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(
            f"needs QGIS: there is no {name} (Debian: apt-get install --no-install-recommends qgis python3-qgis)"
        )
    return path


def qgis_python() -> str:
    """Path of the Python that has QGIS's modules, Debian's or the one that QGIS_PYTHON names."""
    qgis_program("qgis_process")
    path = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
    if subprocess.run([path, "-c", "import qgis.core"], env=environment(), capture_output=True, check=False).returncode:
        pytest.skip(f"needs PyQGIS: {path} cannot import qgis.core (QGIS_PYTHON names the Python that can)")
    return path


def environment(**more: str) -> dict[str, str]:
    """Environment of QGIS without a screen."""
    kept = {key: value for key, value in os.environ.items() if key not in _OURS}
    return {
        **kept,
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "/tmp"),
        **more,
    }


def draw(rasters: dict[Path, Path]) -> None:
    """Draw rasters as QGIS shows them when they are added, each to a PNG of its own size, clear where it is."""
    script = Path(__file__).with_name("draw.py")
    arguments = [str(path) for pair in rasters.items() for path in pair]
    done = subprocess.run(
        [qgis_python(), str(script), *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
