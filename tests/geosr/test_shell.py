"""The command in a shell: completion of its words, manual pages, and its installation from a wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile

import pytest

from scripts.man_pages import write_pages
from scripts.try_wheel import build, try_wheel
from tests.conftest import run_here


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("geosr ups", {"upscale"}),
        ("geosr models ad", {"adapt"}),
        ("geosr upscale --mask", {"--mask-clouds"}),
        ("geosr change --pol", {"--polygons"}),
    ],
)
def test_words_are_completed_in_bash(typed, completed):
    environment = {"_GEOSR_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    assert set(run_here(**environment).stdout.split()) == completed


def test_completion_loads_nothing_that_it_does_not_need():
    """Each press of the key starts the command."""
    code = "import sys, geosr.cli.main; print({'rasterio', 'catalog', 'dask', 'torch'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_manual_pages_are_of_every_command_and_option(tmp_path):
    paths = {path.name: path.read_text() for path in write_pages(tmp_path)}
    assert {"geosr.1", "geosr-upscale.1", "geosr-models-adapt.1", "geosr-change.1"} <= set(paths)
    page = paths["geosr-change.1"]
    assert "geosr\\-change \\- Map what changed between two dates, with hectares\n" in page
    assert ".TP\n\\fB\\-\\-polygons FILE\\fR\nAlso write areas: .gpkg or .geojson.\n" in page
    assert ".SS Area of interest\n" in page
    # Options without a title come before the titles.
    assert page.index("\\-\\-debug") < page.index(".SS ")
    if shutil.which("groff"):
        told = [
            subprocess.run(
                ["groff", "-man", "-ww", "-z", "-K", "utf-8", "-T", "utf8", path],
                capture_output=True,
                text=True,
                check=False,
            ).stderr
            for path in tmp_path.iterdir()
        ]
        assert set(told) == {""}


@pytest.mark.slow
def test_the_wheel_works_where_nothing_else_of_geosr_is(tmp_path):
    """Built from the source distribution. The packages that it needs are this environment's."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools as pyproject.toml does")
    sdist, wheel = build(tmp_path)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "geosr/data/sample.tif", "man/geosr-upscale.1"} <= names
    seen = try_wheel(wheel, borrow=True)
    assert seen["version"].startswith("geosr ")
    assert seen["upscaled"] == "wrote part.tif and part.json"
    assert seen["manual"].startswith("geosr\\-upscale \\- Upscale a scene four times")
    assert seen["completed"] == "upscale"
