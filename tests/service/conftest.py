"""Real services in processes of their own, and clients of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.windows import browser, desk, hand  # noqa: F401 - fixtures of all modules
from tests.services import free_port
from tests.warm import WarmProcess
from tests.warm_jobs import WARM_JOBS

#: A model without a network, for what does not depend on one.
PLAIN = "backprojection"

#: A part of the sample, degrees.
BOX = [0.005, -0.012, 0.012, -0.005]


@dataclass
class Service:
    """A running service, and a client of it."""

    process: WarmProcess
    address: str
    data: Path
    log: Path
    http: httpx.Client

    def submit(self, **inputs: Any) -> str:
        """The id of a new job."""
        answer = self.http.post(
            "/processes/upscale/execution", json={"inputs": inputs}, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    def wait(self, job: str, *statuses: str, seconds: float = 120) -> dict[str, Any]:
        """A job's status once it is one of these, or over."""
        wanted = statuses or ("successful", "failed", "dismissed")
        deadline = time.monotonic() + seconds
        while (status := self.http.get(f"/jobs/{job}").json())["status"] not in wanted:
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        return dict(status)

    def kill(self) -> None:
        """As the system does when memory is short: at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def served(
    data: Path,
    *options: object,
    model: str | Path = PLAIN,
    core_px: int | None = None,
    warm_jobs: bool = True,
    **settings: object,
) -> Iterator[Service]:
    """A service on a port of its own, until the block ends; its jobs in chunks of ``core_px``.

    Without ``warm_jobs`` their processes start Python as they do elsewhere.
    """
    port = free_port()
    data.mkdir(exist_ok=True)
    log = data / "service.log"
    environment = {f"GEOSR_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    if core_px is not None:
        environment["GEOSR_CORE_PX"] = str(core_px)
    if warm_jobs:
        environment[WARM_JOBS] = "yes"
    environment = {**os.environ, "GEOSR_SERVICE_MODEL": str(model), **environment}
    command = ("serve", "--data", data, "--port", port, "--json", *options)
    with log.open("ab") as output:
        process = WarmProcess("geosr", *command, stdout=output, stderr=output, environment=environment)
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as http:
        try:
            deadline = time.monotonic() + 120
            while not _ready(http):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the service did not start:\n{log.read_text()}")
                time.sleep(0.1)
            yield Service(process, address, data, log, http)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests of a module: the sample, and a model without a network."""
    with served(tmp_path_factory.mktemp("service"), "--demo") as running:
        yield running


Serve = Callable[..., Any]
