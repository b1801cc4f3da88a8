"""The service goes on whatever fails beside it: files, disks, processes that print what they should not."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import time
from contextlib import contextmanager

import httpx
import pytest
from fastapi.testclient import TestClient

from geosr.model.zoo import DEFAULT_MODEL
from geosr.service.app import create_app
from geosr.service.jobs.job_runner import JobRunner
from geosr.service.security.egress_proxy import Egress
from geosr.service.settings import ServiceSettings
from geosr.service.tiles.live_chunks import LiveChunks
from tests.conftest import REPOSITORY
from tests.service.conftest import BOX, PLAIN, served

pytestmark = pytest.mark.slow

TILES = "/scenes/demo/tiles/17"


@contextmanager
def limited(service, limit, value):
    """Less of something for a running service; as before after the block."""
    before = resource.prlimit(service.process.pid, limit)
    resource.prlimit(service.process.pid, limit, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, limit, before)


def with_code(folder, monkeypatch, code):
    """Let the services and jobs of a test run some code when they start."""
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{REPOSITORY}")


def busy_queue(service):
    """A job that runs for a while."""
    job = service.submit(scene="demo", bbox=[0, -0.027, 0.0269, 0], uncertainty=True)
    service.wait(job, "running")
    return job


def test_a_job_that_cannot_be_started_fails_and_the_others_go_on(tmp_path):
    with served(tmp_path / "data", "--demo", model=DEFAULT_MODEL) as service:
        first = busy_queue(service)
        lost, last = (service.submit(scene="demo", bbox=BOX, model=PLAIN, max_cloud=cloud) for cloud in (50, 60))
        shutil.rmtree(service.data / "jobs" / lost)
        service.http.delete(f"/jobs/{first}")
        status = service.wait(lost, seconds=120)
        assert status["status"] == "failed"
        assert status["message"] == "could not be started: its folder is gone; order it again"
        assert service.wait(last)["status"] == "successful"
        assert service.http.get("/readyz").status_code == 200


def test_jobs_wait_while_the_machine_has_no_more_file_handles(tmp_path):
    with served(tmp_path / "data", "--demo", model=DEFAULT_MODEL) as service:
        first = busy_queue(service)
        waits = service.submit(scene="demo", bbox=BOX, model=PLAIN)
        with limited(service, resource.RLIMIT_NOFILE, 3):
            service.http.delete(f"/jobs/{first}")
            deadline = time.monotonic() + 120
            while "Too many open files" not in (status := service.http.get(f"/jobs/{waits}").json())["message"]:
                assert time.monotonic() < deadline, status
                time.sleep(0.1)
            assert status["status"] in ("accepted", "running")
            assert str(tmp_path) not in status["message"]
        assert service.wait(waits)["status"] == "successful"


def test_what_a_job_process_prints_beside_its_messages_is_logged(tmp_path, monkeypatch):
    code = (
        "import os, sys\n"
        'if "geosr.service.jobs.job_main" in sys.orig_argv:\n    os.write(1, b"a library says \\xff\\n3\\n")\n'
    )
    with_code(tmp_path, monkeypatch, code)
    with served(tmp_path / "data", "--demo", warm_jobs=False) as service:
        for cloud in (50, 60):
            job = service.submit(scene="demo", bbox=BOX, max_cloud=cloud)
            assert service.wait(job, seconds=120)["status"] == "successful"
        assert "a library says" in service.log.read_text()


def test_a_process_that_tells_what_cannot_be_understood_is_ended_and_does_not_block_the_queue(tmp_path, monkeypatch):
    code = (
        "import os, sys, time\n"
        'if "geosr.service.jobs.job_main" in sys.orig_argv and os.path.exists(sys.orig_argv[-1] + "/../odd"):\n'
        '    os.write(1, b\'{"event": "begin"}\\n\')\n'
        "    time.sleep(60)\n"
    )
    with_code(tmp_path, monkeypatch, code)
    with served(tmp_path / "data", "--demo", warm_jobs=False) as service:
        odd = service.data / "jobs" / "odd"
        odd.touch()
        job = service.submit(scene="demo", bbox=BOX)
        status = service.wait(job, seconds=120)
        assert status["status"] == "failed"
        assert "died" in status["message"]
        odd.unlink()
        assert service.wait(service.submit(scene="demo", bbox=BOX), seconds=120)["status"] == "successful"


def test_a_job_that_nobody_follows_any_more_is_taken_up(tmp_path):
    with served(tmp_path / "data", "--demo") as service:
        job = service.submit(scene="demo", bbox=BOX)
        assert service.wait(job)["status"] == "successful"
        # As where the end of its process could not be written.
        with sqlite3.connect(service.data / "geosr.db", timeout=60) as database:
            database.execute("UPDATE jobs SET status = 'running' WHERE id = ?", (job,))
        database.close()
        assert service.wait(job, seconds=120)["status"] == "successful"


def test_tiles_are_shown_though_the_disk_takes_nothing(tmp_path):
    with served(tmp_path / "data", "--demo") as service:
        with limited(service, resource.RLIMIT_FSIZE, 50_000):
            full = service.http.get(f"{TILES}/65539/65539", params={"bands": "B08"}, timeout=120)
        again = service.http.get(f"{TILES}/65541/65541", params={"bands": "B08"}, timeout=120)
        assert (full.status_code, again.status_code) == (200, 200)
        assert "the cache takes nothing" in service.log.read_text()
        assert service.http.get("/readyz").status_code == 200


@pytest.mark.parametrize(("part", "said"), [(JobRunner, "jobs"), (LiveChunks, "live tiles")])
def test_a_service_that_does_nothing_any_more_is_not_ready(tmp_path, monkeypatch, part, said):
    monkeypatch.setattr(part, "_run", lambda self: None)
    monkeypatch.setattr(Egress, "take_over", lambda self: None)
    with TestClient(create_app(ServiceSettings(data=tmp_path, model=PLAIN)), base_url="http://localhost") as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert said in answer.json()["detail"]


def test_connections_beyond_the_limit_are_refused_at_once(tmp_path):
    with served(tmp_path / "data", max_connections=4) as service:
        clients = [httpx.Client(base_url=service.address, trust_env=False) for _ in range(6)]
        answers = [client.get("/healthz").status_code for client in clients]
        for client in clients:
            client.close()
        assert answers[0] == 200
        assert answers[-1] == 503
        deadline = time.monotonic() + 120
        while service.http.get("/healthz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
