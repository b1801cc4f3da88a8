"""The workers of a real Dask scheduler compute what threads of one process do; workers die, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster, SchedulerPlugin

from catalog import SceneRequest
from geosr.errors import WorkerError
from geosr.model import zoo
from geosr.progress import QuietReporter
from geosr.run import cluster
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from tests.conftest import SAMPLE, run_geosr, write_raster
from tests.services import dask_scheduler, geosr_worker
from tests.upscaling import upscale_request
from tests.warm import WarmProcess


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A scheduler with two workers on one core each."""
    folder = tmp_path_factory.mktemp("cluster")
    with (
        dask_scheduler(folder) as address,
        geosr_worker(address, folder, "first"),
        geosr_worker(address, folder, "second"),
    ):
        yield address


class Watcher(QuietReporter):
    """Does something once so many chunks are finished."""

    def __init__(self, count: int, act) -> None:
        self._count, self._act = count, act
        self.computed: list[str] = []

    def chunk(self, key: str, finished: int, total: int) -> None:
        self.computed.append(key)
        if finished == self._count:
            self._act()


def request(source: Path, output: Path, **options) -> UpscaleRequest:
    fixed = {"model": "bicubic", "core_px": 64}
    return upscale_request(SceneRequest(str(source)), output, **{**fixed, **options})


@pytest.mark.slow
def test_two_workers_leave_the_bytes_of_one_process(tmp_path, scheduler, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :90, :90])
    options = {"model": "rgbn-x4", "core_px": 30, "precision": "float32"}
    super_resolve(request(source, tmp_path / "alone.tif", **options))
    arguments = ("upscale", source, "-o", "out.tif", "--core", 30, "--precision", "float32", "--json")
    # A relative output is this process's: workers have folders of their own.
    result = run_geosr(*arguments, "--scheduler", scheduler, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["computed"] == 9
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()
    assert not work_folder(tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_layers_are_made_by_workers_too(tmp_path, scheduler, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :60, :60])
    options = {"model": "rgbn-x4", "core_px": 30, "precision": "float32", "uncertainty": True}
    super_resolve(request(source, tmp_path / "alone.tif", **options))
    super_resolve(request(source, tmp_path / "out.tif", **options, scheduler=scheduler))
    for suffix in ("", "_uncertainty", "_measured"):
        alone, together = (tmp_path / f"{name}{suffix}.tif" for name in ("alone", "out"))
        assert together.read_bytes() == alone.read_bytes()


@pytest.mark.slow
def test_a_model_of_ones_own_is_sent_to_workers_that_do_not_have_it(tmp_path, scheduler, sample, monkeypatch):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    (tmp_path / "mine").mkdir()
    content = {**json.loads((card.folder / "rgbn-x4.json").read_text()), "name": "mine"}
    (tmp_path / "mine" / "card.json").write_text(json.dumps(content))
    shutil.copy(card.weights_path, tmp_path / "mine")
    shutil.copy(card.folder / card.bfloat16.weights, tmp_path / "mine")
    # Chunks as large as the image by which a model is tried: the network is made ready for one shape.
    source = write_raster(tmp_path / "in.tif", sample[:, :32, :32])
    # Workers know nothing of this folder: the path is relative to it.
    monkeypatch.chdir(tmp_path)
    model = "mine/card.json"
    super_resolve(request(source, tmp_path / "out.tif", model=model, core_px=16, scheduler=scheduler))
    super_resolve(request(source, tmp_path / "alone.tif", model=model, core_px=16))
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()


@pytest.mark.slow
def test_killing_a_worker_in_the_middle_loses_nothing(tmp_path, scheduler):
    # Not the process that watches over a worker, which starts it again, but the worker itself.
    with Client(scheduler) as client:
        victim = psutil.Process(next(iter(client.run(os.getpid).values())))
    watcher = Watcher(3, victim.kill)
    published = super_resolve(request(SAMPLE, tmp_path / "out.tif", core_px=40, scheduler=scheduler), watcher)
    assert not victim.is_running()
    assert len(set(watcher.computed)) == published.chunks == 64
    super_resolve(request(SAMPLE, tmp_path / "alone.tif", core_px=40))
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()


@pytest.mark.slow
def test_an_interrupt_leaves_the_cluster_working_and_the_run_resumable(tmp_path, scheduler, sample):
    source, output = write_raster(tmp_path / "in.tif", sample[:, :200, :200]), tmp_path / "out.tif"
    command = ["upscale", str(source), "-o", str(output), "--json"]
    command += ["--core", "20", "--scheduler", scheduler, "--model", "bicubic"]
    run = WarmProcess("geosr", *command)
    while len(list(work_folder(output).glob("r*.tif"))) < 3:
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command goes on where it was" in errors.splitlines()[-1]
    result = run_geosr(*command)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["computed"] < 100


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("geosr.run.cluster._CONNECT_S", 1)
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9.*dask scheduler"):
        super_resolve(request(SAMPLE, tmp_path / "out.tif", scheduler="tcp://127.0.0.1:9"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_scheduler_without_workers_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("geosr.run.cluster._CONNECT_S", 2)
    with (
        dask_scheduler(tmp_path) as address,
        pytest.raises(WorkerError, match="has no workers: start some with `geosr worker`"),
    ):
        super_resolve(request(SAMPLE, tmp_path / "out.tif", scheduler=address))
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_workers_that_do_not_see_the_folder_say_so(tmp_path, scheduler):
    """Machines without a shared disk cannot be had here: the folder is moved away under the workers instead."""
    output = tmp_path / "out.tif"

    def move_away() -> None:
        work_folder(output).rename(tmp_path / "elsewhere")

    with pytest.raises(WorkerError, match=r"the workers do not see .*out\.tif\.geosr.*all of them share"):
        super_resolve(request(SAMPLE, output, core_px=20, scheduler=scheduler), Watcher(2, move_away))


@pytest.mark.slow
def test_the_schedulers_memory_does_not_depend_on_the_number_of_chunks(tmp_path, scheduler):
    """Ten thousand chunks of one pixel: at no moment does the scheduler know more than a few."""
    source = write_raster(tmp_path / "in.tif", np.full((4, 100, 100), 1000, np.uint16))
    process = psutil.Process(_scheduler_process(scheduler))
    # What it loads for any run is not the chunks'.
    small = write_raster(tmp_path / "small.tif", np.full((4, 9, 9), 1000, np.uint16))
    super_resolve(request(small, tmp_path / "small_out.tif", model="nearest", core_px=1, scheduler=scheduler))
    before = process.memory_info().rss
    peaks = []

    class Enough(QuietReporter):
        def chunk(self, key: str, finished: int, total: int) -> None:
            assert total == 10_000
            peaks.append(process.memory_info().rss)
            if finished == 120:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        super_resolve(request(source, tmp_path / "out.tif", model="nearest", core_px=1, scheduler=scheduler), Enough())
    assert max(peaks) < 500 * 2**20
    assert max(peaks) - before < 50 * 2**20


def _scheduler_process(address: str) -> int:
    port = int(address.rpartition(":")[2])
    return next(c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN" and c.pid)


def test_a_run_ends_where_its_workers_are_gone(monkeypatch):
    monkeypatch.setattr(cluster, "_LOOK_S", 0.1)
    monkeypatch.setattr(cluster, "_ALONE_S", 0.3)
    gone = threading.Event()

    class Leaving(SchedulerPlugin):
        def remove_worker(self, *_, **__):
            gone.set()

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as workers,
        Client(workers) as client,
    ):
        workers.scheduler.add_plugin(Leaving())
        parts = cluster.submit_bounded(client, [1, -1, 2], lambda part: (abs, part), ahead=1, each="part")
        assert next(parts) == 1
        workers.scale(0)
        assert gone.wait(60)
        with pytest.raises(WorkerError, match="none came back"):
            list(parts)


def test_a_part_that_runs_out_of_time_says_so_itself():
    def late(part):
        raise TimeoutError("the server is slow")

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as workers,
        Client(workers) as client,
        pytest.raises(TimeoutError, match="the server is slow"),
    ):
        list(cluster.submit_bounded(client, [1], lambda part: (late, part), ahead=1, each="part"))


def test_an_error_that_comes_as_a_wait_ends_is_the_parts_own():
    class Failing:
        status = "error"

        def result(self, timeout=None):
            raise TimeoutError if timeout is not None else ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        cluster._result(Failing(), 0.1)
