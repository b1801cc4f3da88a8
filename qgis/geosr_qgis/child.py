"""A command that runs as a child process, its lines handed on as they come, until it ends or is cancelled."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

#: Seconds between looks at whether the user cancelled.
_LOOK_S = 0.2

#: Seconds that a cancelled command has to end by itself before it is killed.
_PATIENCE_S = 15.0


class NotFoundError(Exception):
    """The command cannot be started."""


@dataclass(frozen=True)
class Outcome:
    """End of a command."""

    code: int
    output: str
    """Standard output."""
    cancelled: bool


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    read_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Outcome:
    """Run a command. Lines of its standard error go to ``read_line``, in the calling thread.

    A cancelled command is interrupted, so that it keeps what a later run goes on from, and killed if it does not end.

    Raises :class:`NotFoundError` where it cannot be started.
    """
    try:
        child = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise NotFoundError(f"{arguments[0]}: {error.strerror or error}") from error
    with child:
        try:
            return _follow(child, read_line, is_cancelled)
        except BaseException:
            _end(child)
            raise


def _follow(
    child: subprocess.Popen[str], read_line: Callable[[str], None], is_cancelled: Callable[[], bool]
) -> Outcome:
    lines: queue.Queue[str | None] = queue.Queue()
    output: list[str] = []
    readers = [
        threading.Thread(target=_hand_on, args=(child.stderr, lines), daemon=True),
        threading.Thread(target=lambda: output.append(_all_of(child.stdout)), daemon=True),
    ]
    for reader in readers:
        reader.start()
    cancelled = False
    while not cancelled:
        try:
            line = lines.get(timeout=_LOOK_S)
        except queue.Empty:
            line = ""
        if line is None:
            break
        if line:
            read_line(line)
        if is_cancelled():
            cancelled = True
            _end(child)
    for reader in readers:
        reader.join()
    return Outcome(child.wait(), "".join(output), cancelled)


def _hand_on(stream: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    if stream is not None:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _all_of(stream: IO[str] | None) -> str:
    return "" if stream is None else stream.read()


def _end(child: subprocess.Popen[str]) -> None:
    """Interrupt a child as Ctrl-C does, and kill it if that does not end it."""
    if sys.platform == "win32":
        child.terminate()
    else:
        _signal(child, signal.SIGINT)
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            child.kill()
        else:
            _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[str], number: int) -> None:
    """Signal a child and its own children."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)
