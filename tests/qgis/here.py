"""QGIS as it is installed on this machine; tests that need it are skipped where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from scripts.qgis_plugin import make_zip
from tests.conftest import REPOSITORY

#: Environment variables of this Python that would mislead another one.
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def qgis_program(name: str) -> str:
    """Path of a program of QGIS; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs QGIS: there is no {name} (docs/guide/qgis.md says how to install it)")
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


def qgis_process() -> str:
    """Path of ``qgis_process``. Debian's script of QGIS 3.22 hands it an option that it refuses."""
    path = Path(qgis_program("qgis_process"))
    binary = path.with_name("qgis_process.bin")
    return str(binary if binary.exists() else path)


def plugin_environment(folder: Path) -> dict[str, str]:
    """Environment in which QGIS has the plugin as its zip brings it, and finds this ``geosr``.

    QGIS keeps its settings in ``folder``.
    """
    with ZipFile(make_zip(folder)) as made:
        made.extractall(folder / "plugins")
    settings = folder / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text("[PythonPlugins]\ngeosr_qgis=true\nprocessing=true\n")
    programs = folder / "bin"
    programs.mkdir()
    geosr = programs / "geosr"
    geosr.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m geosr "$@"\n')
    geosr.chmod(0o755)
    return environment(
        QGIS_CUSTOM_CONFIG_PATH=str(folder),
        QGIS_PLUGINPATH=str(folder / "plugins"),
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
