"""Work in stages that go on at the same time: while one task is computed, the next is read and the last is written."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: Seconds after which a thread that waits looks whether it is to stop.
_LOOK_S = 0.1

_END = object()

_Queue: TypeAlias = "queue.Queue[Any]"


@dataclass(frozen=True)
class Stage:
    """One step of every task."""

    work: Callable[[Any], Any]
    """From what the stage before returned, the task itself in the first."""
    threads: int
    name: str


@dataclass(frozen=True)
class _Failed:
    """Exception of a stage, on its way to the end of the line."""

    error: BaseException


def run_stages(stages: Sequence[Stage], tasks: Iterable[Any]) -> Iterator[Any]:
    """Stream the results of the last stage, as they come.

    Between two stages wait no more results than the later one has threads, so that memory does not depend on the number
    of tasks. The first error ends the iteration, and so does closing it; work that goes on is waited for.
    """
    stop = threading.Event()
    queues = [queue.Queue[Any](maxsize=stage.threads) for stage in stages] + [queue.Queue[Any](maxsize=1)]
    threads = [threading.Thread(target=_feed, args=(tasks, queues[0], stop), name="feed", daemon=True)]
    for stage, work, results in zip(stages, queues, queues[1:], strict=False):
        crew = _Crew(stage, work, results, stop)
        threads += [
            threading.Thread(target=crew.work, name=f"{stage.name} {i}", daemon=True) for i in range(stage.threads)
        ]
    for thread in threads:
        thread.start()
    try:
        while (result := queues[-1].get()) is not _END:
            if isinstance(result, _Failed):
                raise result.error
            yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Crew:
    """The threads of one stage."""

    def __init__(self, stage: Stage, given: _Queue, results: _Queue, stop: threading.Event) -> None:
        self._stage, self._given, self._results, self._stop = stage, given, results, stop
        self._lock = threading.Lock()
        self._left = stage.threads

    def work(self) -> None:
        """Work on items until no more is given; run by each thread."""
        while (item := _next_item(self._given, self._stop)) is not _END:
            done = item if isinstance(item, _Failed) else self._attempt(item)
            # Whoever waits for the next keeps nothing of the last.
            item = None
            _put(self._results, done, self._stop)
            done = None
        with self._lock:
            self._left -= 1
            others = self._left > 0
        # The next of the crew ends by the same end; the last one tells the next stage.
        _put(self._given if others else self._results, _END, self._stop)

    def _attempt(self, item: Any) -> Any:
        try:
            return self._stage.work(item)
        except BaseException as error:
            return _Failed(error)


def _feed(tasks: Iterable[Any], results: _Queue, stop: threading.Event) -> None:
    try:
        for task in tasks:
            if not _put(results, task, stop):
                return
    except Exception as error:
        _put(results, _Failed(error), stop)
    _put(results, _END, stop)


def _next_item(work: _Queue, stop: threading.Event) -> Any:
    """Take the next item, unless all is to stop: what waits then would only delay the end."""
    while not stop.is_set():
        try:
            return work.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
    return _END


def _put(results: _Queue, item: Any, stop: threading.Event) -> bool:
    """Put a result where there is room, unless all is to stop."""
    while not stop.is_set():
        try:
            results.put(item, timeout=_LOOK_S)
        except queue.Full:
            continue
        return True
    return False
