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


class BufferPool:
    """Arrays by name: scratch memory of float32, the same at each call, and arrays that are borrowed and come back."""

    def __init__(self, most_returned: int = 2) -> None:
        """Keep up to ``most_returned`` returned arrays per name: as many as are borrowed at once."""
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._returned: defaultdict[str, deque[NDArray[np.uint8]]] = defaultdict(partial(deque, maxlen=most_returned))

    def scratch(
        self, name: str, shape: tuple[int, ...], used: Callable[[NDArray[np.float32]], object] | None = None
    ) -> NDArray[np.float32]:
        """An array with whatever was there before, which is given to ``used``; or new memory, which is all zero."""
        floats, line = math.prod(shape), LINE_BYTES // np.dtype(np.float32).itemsize
        scratch = self._arrays.get(name)
        new = scratch is None or scratch.size < floats + line
        if scratch is None or new:
            # The old goes first.
            self._arrays.pop(name, None)
            scratch = self._arrays[name] = np.zeros(floats + line, np.float32)
        first = -scratch.ctypes.data % LINE_BYTES // scratch.itemsize
        taken = scratch[first : first + floats].reshape(shape)
        if used is not None and not new:
            used(taken)
        return taken

    def borrow(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """An array of its own, whose memory can be borrowed again when nobody has it or a part of it any more."""
        wanted = np.dtype(dtype)
        size = math.prod(shape) * wanted.itemsize
        most = size + LINE_BYTES
        returned = self._returned[name]
        try:
            scratch = returned.popleft()
        except IndexError:
            scratch = np.empty(0, np.uint8)
        if scratch.size < most:
            scratch = np.empty(most, np.uint8)
        first = -scratch.ctypes.data % LINE_BYTES
        return np.asarray(_Borrowed(scratch, returned))[first : first + size].view(wanted).reshape(shape)


class _Borrowed:
    """Owns borrowed memory for numpy, whose arrays keep it for as long as one of them is left."""

    def __init__(self, scratch: NDArray[np.uint8], returned: deque[NDArray[np.uint8]]) -> None:
        self._memory, self._returned = scratch, returned
        self.__array_interface__ = scratch.__array_interface__

    def __del__(self) -> None:
        self._returned.append(self._memory)
