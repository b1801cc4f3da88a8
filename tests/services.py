"""Real services that tests talk to, each in a process of its own, on loopback."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from s3fs import S3FileSystem

from tests.warm import WarmProcess

#: Modules that begin warm; other commands are files.
_WARM = ("dask", "geosr", "moto.server")

#: Below what Linux (from 32768), macOS and Windows (from 49152) give to connections.
_PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A port that nobody listens on, of those that systems do not give to connections.

    One of theirs could be taken between now and when a service listens on it.
    """
    while True:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(command: Sequence[object], ready: Callable[[], bool], log: Path, **environment: str) -> Iterator[int]:
    """A process that is ended with the block; yields its number once it is ready."""
    variables = {**os.environ, **environment}
    process: subprocess.Popen[bytes] | WarmProcess
    with log.open("wb") as output:
        if command[0] in _WARM:
            module, *arguments = command
            process = WarmProcess(str(module), *arguments, stdout=output, stderr=output, environment=variables)
        else:
            process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, env=variables)
    try:
        deadline = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Return True if somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """A server that speaks S3 and keeps objects in memory; yields the variables by which AWS's clients find it."""
    port = free_port()
    command = ["moto.server", "-H", "127.0.0.1", "-p", port]
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/moto-api/", timeout=5):
                return True
        except OSError:
            return False

    with running(command, ready, folder / "s3.log"):
        # fsspec keeps file systems, with the server that they were opened for.
        S3FileSystem.clear_instance_cache()
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def dask_scheduler(folder: Path) -> Iterator[str]:
    """A scheduler started as the documentation says; yields its address."""
    port = free_port()
    command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    with running(command, lambda: answers(port), folder / "scheduler.log"):
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def geosr_worker(scheduler: str, folder: Path, name: str, **environment: str) -> Iterator[int]:
    """A worker started as the documentation says, on one core; yields the number of its process."""
    log = folder / f"{name}.log"
    command = ["geosr", "worker", scheduler, "--threads", 1]
    with running(command, lambda: log.exists() and "Registered to" in log.read_text(), log, **environment) as pid:
        yield pid
