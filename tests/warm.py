"""Processes of the command that begin with its libraries loaded.

Loading them is half of what a short command takes. A process beside each test process loads them once; those that tests
start are forked from it: processes of their own, with signals, files and ends of their own, that only begin warm, and
so do Dask's workers that they start. What depends on how a command is loaded starts Python anew, with
:mod:`subprocess`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import context, forkserver, reduction, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import IO, Any

import dask

#: What commands and services load. Nothing of it starts a thread of Python's, which a fork would lose; OpenVINO is
#: loaded as the package does it, without the thread and the request of its telemetry.
_LIBRARIES = (
    "distributed",
    "geosr.engine.openvino_import",
    "rioxarray",
    "scipy.ndimage",
    "geosr.cli.main",
    "geosr.run.pipeline",
    "geosr.service.app",
    "torch",
    "tests.warm_kernels",
)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(_LIBRARIES))


class _File:
    """A file that a process inherits."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return reduction.DupFd(self.number)

    def __setstate__(self, state: Any) -> None:
        self.number = state.detach()


class _Surroundings:
    """Folder, environment and outputs of the process that sends this. The process that receives it takes them on."""

    def __reduce__(self) -> Any:
        return _take_on, (Path.cwd(), dict(os.environ), {1: _File(1), 2: _File(2)})


def _take_on(folder: Path, variables: Mapping[str, str], files: Mapping[int, _File]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for number, file in files.items():
        os.dup2(file.number, number)
        os.close(file.number)
    if 0 in files:
        sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))


class _ForkedProcess(ForkServerProcess):
    """A worker of Dask's. As a process that is spawned it has its starter's environment, not that of the server."""

    def __init__(self, *, target: Callable[..., None], args: Sequence[Any], **options: Any) -> None:
        super().__init__(target=_run, args=(_Surroundings(), target, args), **options)


def _run(_: None, target: Callable[..., None], arguments: Sequence[Any]) -> None:
    target(*arguments)


class _Forks(ForkServerContext):
    Process = _ForkedProcess


def _fork_workers() -> None:
    """Let Dask fork the workers that this process starts, where it would start Python anew for each."""
    context._concrete_contexts["forked"] = _Forks()  # type: ignore[attr-defined]
    dask.config.set({"distributed.worker.multiprocessing-method": "forked"})


_fork_workers()


class WarmProcess:
    """``python -m MODULE ARGUMENTS`` or ``python SCRIPT ARGUMENTS``, begun warm; otherwise as
    :class:`subprocess.Popen`.

    Parameters
    ----------
    module, arguments
        Name of the module, or path of the script, and its arguments.
    stdin, stdout, stderr
        Open files; without the latter, what is printed is kept for :meth:`communicate`.
    cwd, environment
        Working folder, and all variables of the environment; by default those of this process.
    new_session
        Begin a session, as a terminal does.
    """

    def __init__(
        self,
        module: str | Path,
        *arguments: object,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        new_session: bool = False,
    ) -> None:
        self.args = [str(module), *map(str, arguments)]
        self._kept = tuple(one or tempfile.TemporaryFile() for one in (stdout, stderr))  # noqa: SIM115
        given = [*([] if stdin is None else [(0, stdin)]), *zip((1, 2), self._kept, strict=True)]
        files = {number: _File(one.fileno()) for number, one in given}
        variables = dict(os.environ if environment is None else environment)
        options = (cwd or Path.cwd(), variables, new_session)
        self._process = _forks.Process(target=_become, args=(module, self.args[1:], files, *options), daemon=False)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what was printed. Its files are closed."""
        self.wait(timeout)
        texts = []
        for file in self._kept:
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        out, err = texts
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_warm(
    module: str | Path, *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module or a script to its end, as :func:`subprocess.run` with its output kept."""
    process = WarmProcess(module, *arguments, cwd=cwd, environment=environment)
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _become(
    module: str | Path,
    arguments: Sequence[str],
    files: Mapping[int, _File],
    cwd: Path,
    variables: Mapping[str, str],
    new_session: bool,
) -> None:
    """Be the process of a module or a script."""
    # Its own processes are forked from where it was itself.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[attr-defined]
    if new_session:
        os.setsid()
        # Processes of the server would not be of the session.
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    _take_on(cwd, variables, files)
    if "TESTS_WARM_JOBS" in variables:
        from tests.warm_jobs import use_warm_jobs

        use_warm_jobs()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As Python has them at its start.
    sys.path.insert(0, str(cwd if isinstance(module, str) else module.parent))
    sys.argv = [str(module), *arguments]
    try:
        if isinstance(module, str):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(module), run_name="__main__")
    finally:
        # Processes of multiprocessing end without.
        atexit._run_exitfuncs()
