"""The command in processes that are copies of one in which everything is loaded: a start costs milliseconds."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import resource
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geosr

#: Modules that begin threads, of which a copy of a process has none.
_LEFT_OUT = ("geosr.service", "geosr.__main__", "geosr.run.cluster", "geosr.pairs.execute")


@dataclass(frozen=True)
class Ended:
    """Exit status, processor time and error output of a process that ended."""

    status: int
    """As of :func:`os.waitpid`."""
    cpu_s: float
    text: str
    """Its standard error."""

    @property
    def code(self) -> int | None:
        """Its exit code; None if a signal ended it."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None


def load() -> None:
    """Load what the command needs, once."""
    for module in pkgutil.walk_packages(geosr.__path__, "geosr."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)


def start(arguments: Sequence[str], folder: Path, limits: Mapping[int, int] | None = None) -> int:
    """Start the command in a folder, with ``limits`` on resources; returns the number of its process.

    The memory (``RLIMIT_AS``) is what it may take beyond what is loaded.
    """
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.chdir(folder)
        os.dup2(os.open(".stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(".stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        for what, most in (limits or {}).items():
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(what, (most + (used if what == resource.RLIMIT_AS else 0),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["geosr", *arguments]
        geosr.cli.main.main()
        code = 0
    except SystemExit as end:
        # As Python ends: 0 without a code, 1 with a text.
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def wait(child: int, folder: Path, seconds: float) -> Ended:
    """Wait for a process, which is killed after some ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            path = folder / ".stderr"
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            return Ended(status, usage.ru_utime + usage.ru_stime, text)
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.005)


def run(arguments: Sequence[str], folder: Path, limits: Mapping[int, int] | None = None) -> Ended:
    """Run the command to its end."""
    return wait(start(arguments, folder, limits), folder, 300)


def said_in_one_line(ended: Ended) -> bool:
    """Tell whether a command has refused or given up as it is to: exit code 1, 2 or 130, and one line of why."""
    lines = [line for line in ended.text.splitlines() if line.startswith("geosr: ")]
    crashed = "internal error" in ended.text or "Traceback" in ended.text
    return ended.code in (1, 2, 130) and len(lines) == 1 and not crashed
