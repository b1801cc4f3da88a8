"""Images that are streamed some rows at a time, and work on rows that threads share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

_Made = TypeVar("_Made")

#: Source rows at a time: what is made of them on the way stays in the processor's cache.
_STRIP_ROWS = 8


class Rows(Protocol):
    """Polyphase channels of an image, see :mod:`geosr.model.kernels`; only while its chunk is computed."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(bands, scale * scale, rows, cols)``."""

    def __call__(self, first: int, stop: int) -> NDArray[np.float32]:
        """Some rows of it."""


#: Receives an image as :class:`Rows`.
ImageSink: TypeAlias = Callable[[Rows], None]


class ArrayRows:
    """An image that is there."""

    def __init__(self, polyphase: NDArray[np.float32]) -> None:
        self.polyphase = polyphase
        bands, count, rows, cols = polyphase.shape
        self.shape = (bands, count, rows, cols)

    def __call__(self, first: int, stop: int) -> NDArray[np.float32]:
        return self.polyphase[:, :, first:stop]


def stream_rows(rows: Rows, sink: ImageSink | None, threads: int = 1) -> NDArray[np.float32] | None:
    """Pass an image to its sink; without one, return all of it."""
    if sink is not None:
        sink(rows)
        return None
    if isinstance(rows, ArrayRows):
        return rows.polyphase
    whole = np.empty(rows.shape, np.float32)

    def fill(some: slice) -> None:
        whole[:, :, some] = rows(some.start, some.stop)

    in_strips(rows.shape[2], threads, fill)
    return whole


def in_strips(rows: int, threads: int, work: Callable[[slice], _Made], strip_rows: int = _STRIP_ROWS) -> list[_Made]:
    """Have threads work on some of so many rows each; returns what they made, from the first rows to the last."""
    strips = [slice(top, min(top + strip_rows, rows)) for top in range(0, rows, strip_rows)]
    if threads == 1:
        return [work(strip) for strip in strips]
    with ThreadPoolExecutor(threads, thread_name_prefix="rows") as pool:
        return list(pool.map(work, strips))
