"""Progress of a training run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Steps, their rate, the loss, the time left, and the gains when they are measured. To be entered with ``with``."""

    def __init__(self, total: int, first: int, *, quiet: bool = False) -> None:
        self._total, self._first, self._quiet = total, first, quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._began = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if sys.stderr.isatty() and not self._quiet:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps, {task.fields[rate]:.2f}/s, loss {task.fields[loss]:.4f}"),
                TimeElapsedColumn(),
                TextColumn("elapsed,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=self._total, completed=self._first, rate=0.0, loss=0.0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def first(self) -> int:
        """The step at which this part of the run began."""
        return self._first

    def rate(self, step: int) -> float:
        """Steps per second since the run began or went on."""
        return (step - self._first) / max(time.monotonic() - self._began, 1e-9)

    def step(self, step: int, loss: float) -> None:
        """``loss`` is the mean since the last call."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, rate=self.rate(step), loss=loss)
            return
        rate = self.rate(step)
        minutes = (self._total - step) / rate / 60
        self.say(f"step {step}/{self._total}: loss {loss:.4f}, {rate:.2f} steps/s, {minutes:.0f} min left")

    def gains(self, step: int, gains_db: dict[str, float]) -> None:
        """Gains over bicubic interpolation."""
        self.say(f"step {step}: " + ", ".join(f"{name} {gain:+.2f} dB" for name, gain in gains_db.items()))

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
