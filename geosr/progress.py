"""Progress of a run. The pipeline speaks to a :class:`Reporter`; how it looks is decided here."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from catalog.strict_json import to_json


class Reporter(Protocol):
    """Listens to a run."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        """Chunks are about to be computed; ``finished`` of ``total`` were already."""

    def chunk(self, key: str, finished: int, total: int) -> None:
        """A chunk was computed."""

    def stage(self, text: str) -> None:
        """A step after the chunks begins."""

    def end(self) -> None:
        """The run is over, well or not."""


class QuietReporter:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None: ...

    def chunk(self, key: str, finished: int, total: int) -> None: ...

    def stage(self, text: str) -> None: ...

    def end(self) -> None: ...


class PlainReporter(QuietReporter):
    """One line per event, for logs."""

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        self._say(description)
        if finished:
            self._say(f"resuming: {finished} of {total} chunks are done, {total - finished} to compute")

    def chunk(self, key: str, finished: int, total: int) -> None:
        self._say(f"computed chunk {key} ({finished}/{total})")

    def stage(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class JsonReporter(QuietReporter):
    """One JSON object per line on standard error, for machines."""

    def note(self, text: str) -> None:
        self._say(event="note", text=text)

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        self._say(event="begin", description=description, chunks=total, finished=finished, lr_pixels=lr_pixels)

    def chunk(self, key: str, finished: int, total: int) -> None:
        self._say(event="chunk", key=key, finished=finished, chunks=total)

    def stage(self, text: str) -> None:
        self._say(event="stage", text=text)

    def _say(self, **event: Any) -> None:
        sys.stderr.write(to_json(event) + "\n")
        sys.stderr.flush()


class RichReporter:
    """A progress bar with rate and time left, for terminals."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("chunks, {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._per_chunk = 0.0
        self._first = 0
        self._began = 0.0

    def note(self, text: str) -> None:
        self._console.print(Text.assemble(("note:", "yellow"), " ", text), soft_wrap=True)

    def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
        if finished:
            self._console.print(f"resuming: {finished} of {total} chunks are done", highlight=False)
        self._console.print(Text(description), soft_wrap=True)
        self._per_chunk = lr_pixels / total
        self._first, self._began = finished, time.monotonic()
        self._task = self._progress.add_task("upscaling", total=total, completed=finished, rate="")
        self._progress.start()

    def chunk(self, key: str, finished: int, total: int) -> None:
        if self._task is not None:
            rate = (finished - self._first) * self._per_chunk / (time.monotonic() - self._began)
            self._progress.update(self._task, completed=finished, rate=f"{rate / 1e3:.0f} thousand LR pixels/s,")

    def stage(self, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, description=text)

    def end(self) -> None:
        self._progress.stop()


def reporter_for(*, as_json: bool, quiet: bool) -> Reporter:
    """Lines of JSON, nothing, a bar on a terminal, or plain lines elsewhere."""
    if quiet:
        return QuietReporter()
    if as_json:
        return JsonReporter()
    return RichReporter() if sys.stderr.isatty() else PlainReporter()
