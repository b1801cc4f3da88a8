"""Memory that is kept from one chunk to the next, also where they differ in shape.

To touch memory for the first time costs more than most of what is then done in it, most of all in virtual machines.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: A line of the processor's cache, bytes. Vectors that begin with one do not lie across two.
LINE_BYTES = 64


class Memory:
    """Arrays of float32 by name, which are the same memory whenever they are taken, and others that are lent."""

    def __init__(self, most_returned: int = 2) -> None:
        """Of each name, so many lent arrays are kept when they come back: as many as are lent at a time."""
        self._rooms: dict[str, NDArray[np.float32]] = {}
        self._returned: defaultdict[str, deque[NDArray[np.uint8]]] = defaultdict(partial(deque, maxlen=most_returned))

    def take(
        self, name: str, shape: tuple[int, ...], used: Callable[[NDArray[np.float32]], object] | None = None
    ) -> NDArray[np.float32]:
        """An array with whatever was there before, which is given to ``used``; or new memory, which is all zero."""
        floats, line = math.prod(shape), LINE_BYTES // np.dtype(np.float32).itemsize
        room = self._rooms.get(name)
        new = room is None or room.size < floats + line
        if room is None or new:
            # The old goes first.
            self._rooms.pop(name, None)
            room = self._rooms[name] = np.zeros(floats + line, np.float32)
        first = -room.ctypes.data % LINE_BYTES // room.itemsize
        taken = room[first : first + floats].reshape(shape)
        if used is not None and not new:
            used(taken)
        return taken

    def lend(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """An array of its own, whose memory comes back to be lent again when nobody has it or a part of it any more."""
        wanted = np.dtype(dtype)
        size = math.prod(shape) * wanted.itemsize
        most = size + LINE_BYTES
        returned = self._returned[name]
        try:
            room = returned.popleft()
        except IndexError:
            room = np.empty(0, np.uint8)
        if room.size < most:
            room = np.empty(most, np.uint8)
        first = -room.ctypes.data % LINE_BYTES
        return np.asarray(_Loan(room, returned))[first : first + size].view(wanted).reshape(shape)


class _Loan:
    """Owns lent memory for numpy, whose arrays keep it for as long as one of them is left."""

    def __init__(self, room: NDArray[np.uint8], returned: deque[NDArray[np.uint8]]) -> None:
        self._room, self._returned = room, returned
        self.__array_interface__ = room.__array_interface__

    def __del__(self) -> None:
        self._returned.append(self._room)
