"""Memory that an engine keeps from one chunk to the next, also where they differ in shape.

The first touch of memory costs more than all that is done in it: a virtual machine may get it at half a gigabyte per
second.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

#: A line of the processor's cache, bytes. Vectors that begin with one do not lie across two.
_LINE_BYTES = 64

#: Lent arrays that are kept when they come back: of what is made while another is still in use.
_MOST_RETURNED = 2


class Memory:
    """Arrays of float32 by name. What is taken under a name is the same memory as before."""

    def __init__(self) -> None:
        self._rooms: dict[str, NDArray[np.float32]] = {}
        self._returned: deque[NDArray[np.float32]] = deque(maxlen=_MOST_RETURNED)

    def take(self, name: str, shape: tuple[int, ...], *, zero: bool = False) -> NDArray[np.float32]:
        """An array with whatever was there before, or all ``zero``; larger than before, it is new memory."""
        floats, line = math.prod(shape), _LINE_BYTES // np.dtype(np.float32).itemsize
        room = self._rooms.get(name)
        if room is None or room.size < floats + line:
            # The old goes first.
            self._rooms.pop(name, None)
            room = self._rooms[name] = np.zeros(floats + line, np.float32)
        elif zero:
            room.fill(0)
        first = -room.ctypes.data % _LINE_BYTES // room.itemsize
        return room[first : first + floats].reshape(shape)

    def lend(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of its own, whose memory comes back to be lent again when nobody has it or a part of it any more."""
        floats = math.prod(shape)
        try:
            room = self._returned.popleft()
        except IndexError:
            room = np.empty(0, np.float32)
        if room.size < floats:
            room = np.empty(floats, np.float32)
        return np.asarray(_Loan(room, self._returned))[:floats].reshape(shape)


class _Loan:
    """Owns lent memory for numpy, whose arrays keep it for as long as one of them is left."""

    def __init__(self, room: NDArray[np.float32], returned: deque[NDArray[np.float32]]) -> None:
        self._room, self._returned = room, returned
        self.__array_interface__ = room.__array_interface__

    def __del__(self) -> None:
        self._returned.append(self._room)
