"""Commands in processes of their own: how long they take, and the most memory and disk that they hold."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Seconds between two looks at a process: what looks takes from what is looked at.
_LOOK_S = 0.1


@dataclass(frozen=True)
class Run:
    """Time, memory and disk that a command took."""

    seconds: float
    peak_mib: float
    """Highest sum of resident memory over the command and its children."""
    peak_disk_mb: float
    """Most that was in the folder it works in, beyond what was there before."""
    output: str


def run(command: Sequence[object], folder: Path) -> Run:
    """Run a command that works in a folder. Raises ``CalledProcessError`` when it fails."""
    began, before = time.monotonic(), _bytes_in(folder)
    process = psutil.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    peak = disk = 0
    pause = looked = 0.0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in family))
        except psutil.NoSuchProcess:
            continue
        # Many files may be there: to look at them all takes a hundredth of the time.
        if (now := time.monotonic()) - looked > pause:
            disk, looked = max(disk, _bytes_in(folder) - before), time.monotonic()
            pause = 100 * (looked - now)
        time.sleep(_LOOK_S)
    seconds = time.monotonic() - began
    output = process.stdout.read()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Run(seconds, peak / 2**20, disk / 1e6, output)


def _bytes_in(folder: Path) -> int:
    total = 0
    # What is looked at may be gone at any moment: walk() passes over folders that are, rglob() does not.
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                total += Path(at, name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total
