"""The plugin's modules that know nothing of QGIS: the command it runs, its progress, its end, and the zip."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
from configparser import ConfigParser
from zipfile import ZipFile

import pytest
from geosr_qgis import child
from geosr_qgis.child import NotFoundError, run
from geosr_qgis.command_line import bounding_box, clean_environment, command_line, period, shown
from geosr_qgis.progress import Progress

from geosr.version import VERSION
from scripts.qgis_plugin import PLUGIN, make_zip
from tests.conftest import run_here


def test_options_without_a_value_are_left_out():
    options = {"--model": None, "--clip": False, "--keep": "", "--aoi": [], "--style": True, "--max-cloud": 20.0}
    assert command_line("geosr", "upscale", ["in.tif"], options) == [
        *("geosr", "upscale", "--json", "--style", "--max-cloud=20", "--", "in.tif")
    ]


def test_values_and_sources_may_begin_with_a_dash():
    box = bounding_box(-43.25, -22.125, -43, -22)
    assert command_line("geosr", "upscale", ["-in.tif"], {"--bbox": box})[3:] == [
        "--bbox=-43.25,-22.125,-43,-22",
        "--",
        "-in.tif",
    ]


def test_the_command_takes_what_the_plugin_builds(tmp_path):
    """Refused for the raster alone: every option and its value were read."""
    options = {
        **{"--output": "out.tif", "--bbox": "-43.3,-22.2,-43,-22", "--uncertainty": True, "--model": "rgbn-x4"},
        **{"--keep": "B04,B03", "--sharpness": None, "--restart": True, "--style": True, "--overwrite": True},
        **{"--clip": False, "--mask-clouds": True, "--scale": 0.0001, "--offset": -0.1, "--nodata": 0.0},
    }
    done = run_here(*command_line("geosr", "upscale", ["-missing.tif"], options)[1:], cwd=tmp_path)
    assert "-missing.tif" in done.stderr
    assert done.stderr.count("\n") == 1
    options = {"--output": "out.tif", "--index": "ndvi", "--least": 0.1, "--least-hectares": 0.1, "--report": "a.html"}
    done = run_here(*command_line("geosr", "change", ["a.tif", "b.tif"], options)[1:], cwd=tmp_path)
    assert "a.tif" in done.stderr
    options = {"--output": "t.gpkg", "--fields": "f.gpkg", "--layer": "f", "--id": "name", "--index": "ndvi,r=B08/B04"}
    done = run_here(*command_line("geosr", "fields", ["a.tif"], {**options, "--plots": "p"})[1:], cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "No such option" not in done.stderr
    assert ".tif" in done.stderr or "f.gpkg" in done.stderr
    done = run_here(
        *command_line(
            "geosr", "upscale", [], {"--output": "o.tif", "--datetime": period("2024-06-01", None), "--dates": 2}
        )[1:]
    )
    assert "search with --bbox or --aoi and --datetime" in done.stderr


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("2024-06-01", "2024-08-31", "2024-06-01/2024-08-31"),
        ("2024-06-01", "2024-06-01", "2024-06-01"),
        ("2024-06-01", None, "2024-06-01/.."),
        (None, "2024-08-31", "../2024-08-31"),
        (None, None, None),
    ],
)
def test_days_are_told_as_the_command_reads_them(first, last, told):
    assert period(first, last) == told


def test_the_environment_of_qgis_stays_in_qgis():
    ours = clean_environment({"PATH": "/bin", "PYTHONHOME": "/qgis", "PROJ_LIB": "/qgis/proj", "GEOSR_ENGINE": "torch"})
    assert ours == {"PATH": "/bin", "GEOSR_ENGINE": "torch", "PYTHONUNBUFFERED": "1"}


def test_the_shown_command_can_be_typed():
    assert shown(["geosr", "upscale", "my scene.tif"]) == "geosr upscale 'my scene.tif'"


def event(kind, **more):
    return json.dumps({"event": kind, **more}) + "\n"


def test_progress_of_two_products_never_goes_back():
    progress = Progress(products=2)
    seen = []
    for line in [
        event("note", text="reflectance is assumed"),
        event("begin", description="before", chunks=4, finished=2),
        event("chunk", key="a", finished=4, chunks=4),
        event("stage", text="assembling"),
        event("begin", description="after", chunks=2, finished=0),
        event("chunk", key="a", finished=2, chunks=2),
    ]:
        seen.append((progress.read(line), round(progress.percent, 2)))
    assert seen == [
        (["reflectance is assumed"], 0),
        (["before"], 23.75),
        ([], 47.5),
        (["assembling"], 47.5),
        (["after"], 50),
        ([], 97.5),
    ]


def test_a_product_that_is_up_to_date_counts():
    progress = Progress(products=2)
    progress.read(event("note", text="a.tif is up to date: nothing to do"))
    progress.read(event("begin", description="after", chunks=2, finished=1))
    assert progress.percent == pytest.approx(73.75)


def test_images_of_fields_are_counted():
    progress = Progress()
    progress.read(event("note", text="image 3 of 4: may.tif, 2024-05-14 10:05 UTC"))
    assert progress.percent == 50


def test_the_last_spoken_line_is_the_error_and_earlier_ones_are_read():
    progress = Progress()
    assert progress.read("geosr: example.org does not answer: asked again in 2 s\n") == []
    assert progress.read(event("stage", text="assembling")) == [
        "example.org does not answer: asked again in 2 s",
        "assembling",
    ]
    assert progress.read("warning of a library\n") == ["warning of a library"]
    assert progress.error is None
    assert progress.read("geosr: the area is outside in.tif\n") == []
    assert progress.error == "the area is outside in.tif"


def test_what_the_command_prints_comes_back():
    lines = []
    script = "import sys; print('{}'); sys.stderr.write('a\\nb\\n'); sys.exit(3)"
    outcome = run([sys.executable, "-c", script], os.environ, lines.append, lambda: False)
    assert (outcome.code, outcome.output, outcome.cancelled, lines) == (3, "{}\n", False, ["a\n", "b\n"])


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(NotFoundError, match="/no/geosr: No such file"):
        run(["/no/geosr"], os.environ, print, lambda: False)


#: A command that waits until it is interrupted, and then ends as geosr does, or takes no notice.
WAITING = """
import signal, sys
try:
    print("begun", file=sys.stderr, flush=True)
    signal.pause()
except KeyboardInterrupt:
    while "deaf" in sys.argv:
        signal.pause()
    sys.stderr.write("geosr: interrupted; the same command goes on where it was")
    sys.exit(130)
"""


def cancelled(*arguments):
    lines = []
    return run([sys.executable, "-c", WAITING, *arguments], os.environ, lines.append, lambda: bool(lines))


@pytest.mark.slow
def test_a_cancelled_command_is_interrupted_as_from_the_keyboard():
    """Tests of kills show that it keeps what the next run goes on from."""
    assert (cancelled().code, cancelled().cancelled) == (130, True)


def test_a_cancelled_command_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(child, "_PATIENCE_S", 0.05)
    assert cancelled("deaf").code == -signal.SIGKILL


@pytest.mark.slow
def test_a_mistake_while_lines_are_read_leaves_no_command_behind():
    def read(line):
        raise ValueError(line)

    with pytest.raises(ValueError, match="begun"):
        run([sys.executable, "-c", WAITING], os.environ, read, lambda: False)


def test_the_zip_is_a_plugin_of_this_version(tmp_path):
    path = make_zip(tmp_path / "dist")
    before = path.read_bytes()
    with ZipFile(path) as made:
        names = made.namelist()
        metadata = ConfigParser()
        metadata.read_string(made.read("geosr_qgis/metadata.txt").decode())
    assert {name.partition("/")[0] for name in names} == {"geosr_qgis"}
    assert {"geosr_qgis/__init__.py", "geosr_qgis/icon.svg", "geosr_qgis/LICENSE"} <= set(names)
    general = metadata["general"]
    assert (general["version"], general["qgisMinimumVersion"]) == (VERSION.partition("+")[0], "3.22")
    assert general["hasProcessingProvider"] == "yes"
    assert path == make_zip(tmp_path / "dist")
    assert path.read_bytes() == before


def test_modules_parse_on_the_python_of_old_qgis_and_bring_no_packages():
    for path in PLUGIN.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        imported = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
        }
        assert imported <= sys.stdlib_module_names | {"qgis", "processing"}, path
