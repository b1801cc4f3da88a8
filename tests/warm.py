"""Processes of the command that begin with its libraries loaded.

Loading them is half of what a short command takes. A process beside each test process loads them once; those that tests
start are forked from it: processes of their own, with signals, files and ends of their own, that only begin warm. So
are those that they start in their turn: jobs of a service, workers of Dask's, commands of a benchmark. What depends on
how a command is loaded starts Python with ``-c``, with other variables for Python, or where ``GEOSR_TEST_COLD`` is set.
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
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection, context, forkserver, reduction, resource_tracker
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

#: What begins warm whoever starts it: modules by ``python -m``, commands beside Python, and scripts in a folder.
_MODULES = frozenset({"geosr", "geosr.service.jobs.job_main"})
_COMMANDS = frozenset({"geosr", "dask"})
_SCRIPTS = Path(__file__).parent.parent / "benchmarks"


#: Variable of processes whose own begin anew: Python runs code at their start, or the system is asked what they took.
COLD = "GEOSR_TEST_COLD"

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
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    if 0 in files:
        sys.stdin = os.fdopen(0, closefd=False)


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

_Popen = subprocess.Popen


class _WarmPopen(_Popen[Any]):
    """Forks what :func:`_warm_module` names, where it would start Python anew."""

    _forked: Any = None

    def _execute_child(self, command: Any, executable: Any, preexec_fn: Any, *options: Any) -> None:
        _, pass_fds, cwd, environment, _, _, shell, *numbers = options
        variables = dict(os.environ if environment is None else environment)
        warm = None if executable or preexec_fn or pass_fds or shell else _warm_module(command, variables)
        if warm is None:
            super()._execute_child(command, executable, preexec_fn, *options)  # type: ignore[misc]
            return
        pipes, (*_, new_session, _) = numbers[:6], numbers[6:]
        # Standard input, output and errors, each of them a pipe's, a file's or this process's own.
        ends = {number: _File(number if end == -1 else end) for number, end in enumerate((pipes[0], *pipes[3::2]))}
        where = Path.cwd() if cwd is None else Path(cwd).absolute()
        forked = _forks.Process(target=_become, args=(*warm, ends, where, variables, new_session), daemon=False)
        forked.start()
        # Multiprocessing would look for its end as well, of which it is told only once.
        multiprocessing.process._children.discard(forked)  # type: ignore[attr-defined]
        self._forked, self.pid, self._child_created = forked, forked.pid, True
        self._ending = threading.Lock()
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._forked is None:
            return super()._internal_poll(*arguments, **options)  # type: ignore[misc, no-any-return]
        with self._ending:
            if self.returncode is None:
                self.returncode = self._forked.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._forked is None:
            return super()._wait(timeout)  # type: ignore[misc, no-any-return]
        connection.wait([self._forked.sentinel], timeout)
        if self._internal_poll() is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode


def _warm_module(command: Any, variables: Mapping[str, str]) -> tuple[str | Path, list[str]] | None:
    """The module or the script that a command starts, with its arguments, if that begins warm."""
    names = {name for name in {*variables, *os.environ} if name.startswith("PYTHON")}
    as_here = all(variables.get(name) == os.environ.get(name) for name in names)
    if COLD in variables or not as_here or not isinstance(command, list):
        return None
    program, *words = map(str, command)
    python = Path(sys.executable)
    if program != str(python):
        is_script = Path(program).parent == python.parent and Path(program).name in _COMMANDS
        return (Path(program).name, words) if is_script else None
    if words[:1] == ["-m"]:
        return (words[1], words[2:]) if words[1] in _MODULES else None
    return (Path(words[0]), words[1:]) if words and Path(words[0]).parent == _SCRIPTS else None


subprocess.Popen = _WarmPopen  # type: ignore[misc]


class WarmProcess:
    """``python -m MODULE ARGUMENTS`` or ``python SCRIPT ARGUMENTS``, begun warm; otherwise as
    :class:`subprocess.Popen`.

    Parameters
    ----------
    module, arguments
        Name of the module, or path of the script, and its arguments.
    stdout, stderr
        Open files; without one, what is printed is kept for :meth:`communicate`.
    cwd, environment
        Working folder, and all variables of the environment; by default those of this process.
    new_session
        Begin a session, as a terminal does.
    """

    def __init__(
        self,
        module: str | Path,
        *arguments: object,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        new_session: bool = False,
    ) -> None:
        self.args = [str(module), *map(str, arguments)]
        self._kept = tuple(one or tempfile.TemporaryFile() for one in (stdout, stderr))  # noqa: SIM115
        files = {number: _File(one.fileno()) for number, one in zip((1, 2), self._kept, strict=True)}
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
        subprocess.Popen = _Popen  # type: ignore[misc]
    _take_on(cwd, variables, files)
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
