"""A run killed at any moment goes on where it was, and leaves the bytes of an undisturbed one. The kills are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from geosr.run.checkpoint import work_folder
from tests.conftest import SAMPLE, read_raster, run_geosr, write_raster
from tests.small_model import write_small_model
from tests.warm import WarmProcess

CORE = 12

#: So many that a run is killed long before its end.
CHUNKS = 64


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A scene of equal chunks, beside a small model: a network is made ready for each shape that there is."""
    folder = tmp_path_factory.mktemp("source")
    write_small_model(folder)
    side = 8 * CORE
    return write_raster(folder / "in.tif", read_raster(SAMPLE)[:, :side, :side])


def command(source: Path, output: Path) -> list[str]:
    model = str(source.with_name("mine.json"))
    return ["upscale", str(source), "-o", str(output), "--core", str(CORE), "--model", model, "--json"]


def finish(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    result = run_geosr(*command(source, output))
    assert result.returncode == 0, result.stderr
    return result


def kill_when(source: Path, output: Path, ready) -> None:
    """Start the command, wait for a moment of its run, and kill it."""
    process = WarmProcess("geosr", *command(source, output))
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed") / "out.tif"
    result = finish(source, output)
    assert json.loads(result.stdout)["computed"] == CHUNKS
    return output


@pytest.mark.slow
def test_killed_three_times(tmp_path, source, undisturbed):
    output = tmp_path / "out.tif"
    folder = work_folder(output)

    def chunks():
        return len(list(folder.glob("r*.tif")))

    def log_of_next_run() -> list[str]:
        result = finish(source, output)
        return [event["key"] for line in result.stderr.splitlines() if (event := json.loads(line))["event"] == "chunk"]

    kill_when(source, output, lambda: chunks() >= 1)
    first = {path.name for path in folder.glob("r*.tif")}
    kill_when(source, output, lambda: chunks() >= 16)
    second = {path.name for path in folder.glob("r*.tif")}
    assert first <= second
    assert len(second) < CHUNKS
    assert not output.exists()
    kill_when(source, output, lambda: (folder / "mosaic.tif").exists() or output.exists())
    third = {path.name for path in folder.glob("r*.tif")}
    assert len(third) == CHUNKS

    assert log_of_next_run() == []
    assert output.read_bytes() == undisturbed.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.tif"]


@pytest.mark.slow
def test_only_unfinished_chunks_are_computed(tmp_path, source, undisturbed):
    output = tmp_path / "out.tif"
    folder = work_folder(output)
    kill_when(source, output, lambda: len(list(folder.glob("r*.tif"))) >= 16)
    finished = {path.stem for path in folder.glob("r*.tif")}
    result = finish(source, output)
    events = [json.loads(line) for line in result.stderr.splitlines()]
    computed = {event["key"] for event in events if event["event"] == "chunk"}
    assert finished.isdisjoint(computed)
    assert len(finished | computed) == CHUNKS
    assert next(event for event in events if event["event"] == "begin")["finished"] == len(finished)
    assert output.read_bytes() == undisturbed.read_bytes()


@pytest.mark.slow
def test_interrupted_from_the_keyboard(tmp_path, source):
    output = tmp_path / "out.tif"
    folder = work_folder(output)
    process = WarmProcess("geosr", *command(source, output))
    while len(list(folder.glob("r*.tif"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on where it was" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert len(list(folder.glob("r*.tif"))) >= 3


@pytest.mark.slow
def test_an_interrupt_ends_workers_quietly(tmp_path):
    """The terminal interrupts every process of the group."""
    output = tmp_path / "out.tif"
    # 225 chunks, of a model that no worker takes seconds to make ready.
    options = ("--core", 20, "--json", "--model", "bicubic", "--workers", 2)
    run = WarmProcess("geosr", "upscale", SAMPLE, "-o", output, *options, new_session=True)
    folder = work_folder(output)
    while len(list(folder.glob("r*.tif"))) < 2:
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130
    others = [line for line in errors.splitlines() if not line.startswith("{")]
    assert others == ["geosr: interrupted; the same command goes on where it was"]
    assert len(list(folder.glob("r*.tif"))) >= 2
