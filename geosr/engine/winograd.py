"""3 × 3 convolutions on the CPU in float32, several times as fast as computed directly.

Images are held as planes. In a plane, each row is four *phases*, one after another: the columns 0, 4, 8, …, then 1, 5,
9, …, so that what tiles of four pixels have in common lies side by side. Around each plane there are zeros.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.engine.memory import Memory
from geosr.engine.winograd_code import FILTER_TRANSFORM, PRODUCTS, TILE_PX, Code, Layer

#: Floats before each phase: what tiles read beyond the image, and as far as vectors reach beyond the last phase's end.
_PAD = 16

#: Pieces of a layer that each thread gets: where cores are shared with others, who is faster takes more.
_PIECES_PER_THREAD = 4


@dataclass(frozen=True)
class Region:
    """The part of planes that a layer works on; ``margin`` pixels are left out on each side."""

    margin: int
    """A multiple of :data:`TILE_PX`."""
    rows: int
    cols: int

    def inside(self, margin: int) -> Region:
        """What is left with this margin, or with somewhat less, for tiles stay whole."""
        margin = max(self.margin, margin // TILE_PX * TILE_PX)
        less = 2 * (margin - self.margin)
        return Region(margin, self.rows - less, self.cols - less)


class Planes:
    """Planes for images of one shape, and regions of them."""

    def __init__(self, rows: int, cols: int, lanes: int) -> None:
        self._lanes = lanes
        self._phase = self._vectors(cols) + _PAD
        self._rows = -(-rows // TILE_PX) * TILE_PX + 2
        self.row_stride = TILE_PX * self._phase
        self.phase_stride = self._phase
        self.plane_stride = self._rows * self.row_stride
        self.whole = Region(0, rows, cols)

    def shape(self, count: int) -> tuple[int, ...]:
        """Of so many planes: ``(planes, rows, phases, columns / 4)``, with the padding, and one more for its zeros."""
        return count + 1, self._rows, TILE_PX, self._phase

    def tiles(self, region: Region) -> int:
        """Tiles in a row of a region, as many as make whole vectors."""
        return self._vectors(region.cols)

    def address(self, planes: NDArray[np.float32], region: Region) -> int:
        """Of the region's first pixel in the first of planes."""
        return planes.ctypes.data + planes.itemsize * (
            (1 + region.margin) * self.row_stride + _PAD + region.margin // TILE_PX
        )

    def mask(self, region: Region) -> NDArray[np.float32]:
        """1 for the columns of a region and 0 for others, from its first: ``(phases, columns / 4)``."""
        columns = np.arange(self._phase * TILE_PX).reshape(self._phase, TILE_PX).T
        return np.ascontiguousarray(columns < region.cols, np.float32)

    def put(self, image: NDArray[np.float32], planes: NDArray[np.float32]) -> None:
        """``(planes, rows, cols)`` of the whole region into as many planes."""
        rows = image.shape[1]
        for phase in range(TILE_PX):
            columns = image[:, :, phase::TILE_PX]
            planes[: len(image), 1 : 1 + rows, phase, _PAD : _PAD + columns.shape[2]] = columns

    def take(self, planes: NDArray[np.float32], region: Region, out: NDArray[np.float32]) -> None:
        """``(planes, rows, cols)`` of a region without what ``out`` has no room for, alike on both sides."""
        rows = out.shape[1]
        first = region.margin + (region.rows - rows) // 2
        for column in range(TILE_PX):
            part = out[:, :, column::TILE_PX]
            tile, phase = divmod(first + column, TILE_PX)
            part[...] = planes[: len(out), 1 + first :, phase, _PAD + tile :][:, :rows, : part.shape[2]]

    def clear_around(self, planes: NDArray[np.float32], region: Region) -> None:
        """Zeros around a region, as around an image of its size."""
        top, left = 1 + region.margin, region.margin
        planes[:, top - 1] = 0
        planes[:, top + region.rows] = 0
        for column in (left - 1, left + region.cols):
            tile, phase = divmod(column, TILE_PX)
            planes[:, :, phase, _PAD + tile] = 0

    def _vectors(self, cols: int) -> int:
        tiles = -(-cols // TILE_PX)
        return -(-tiles // self._lanes) * self._lanes


class Convolution:
    """A layer's filters, transformed."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], outputs: int) -> None:
        """``weight`` is ``(out, in, 3, 3)``; planes are made in multiples of ``outputs``, the last of them zero."""
        self.made, self.inputs = made, inputs = weight.shape[:2]
        self.outputs = -(-made // outputs) * outputs
        transform = np.kron(FILTER_TRANSFORM, FILTER_TRANSFORM)
        filters = np.zeros((PRODUCTS, self.outputs, inputs), np.float32)
        filters[:, :made] = (transform @ weight.reshape(-1, 9).T.astype(np.float64)).reshape(PRODUCTS, made, -1)
        grouped = filters.reshape(PRODUCTS, -1, outputs, inputs)
        self.filters = np.ascontiguousarray(grouped.swapaxes(2, 3))
        self.bias = np.zeros(self.outputs, np.float32)
        self.bias[:made] = bias


@dataclass(frozen=True)
class Base:
    """What a layer's result is added to after it was multiplied by ``gain``."""

    planes: NDArray[np.float32]
    gain: float


class Convolver:
    """Runs layers on planes of one shape, on some threads. Not for several callers at a time."""

    def __init__(self, planes: Planes, code: Code, threads: int, layers: Sequence[Convolution], memory: Memory) -> None:
        self._planes, self._code = planes, code
        floats = PRODUCTS * code.tiles
        rooms = [max(layer.inputs for layer in layers), max(layer.outputs for layer in layers)]
        self._rooms = [
            tuple(memory.take(f"room {thread} {number}", (floats * count,)) for number, count in enumerate(rooms))
            for thread in range(threads)
        ]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="winograd") if threads > 1 else None
        self._masks: dict[Region, NDArray[np.float32]] = {}

    def run(
        self,
        layer: Convolution,
        region: Region,
        inputs: Sequence[NDArray[np.float32]],
        out: NDArray[np.float32],
        *,
        slope: float = 1.0,
        bases: Sequence[Base] = (),
    ) -> None:
        """Convolve a region of ``inputs``, each some planes, into the first planes of ``out``, which is none of them.

        ``slope`` is that of a leaky rectifier, 1 for none. The result is added to the ``bases``, two at most, in turn.
        """
        planes, item = self._planes, np.dtype(np.float32).itemsize
        mask = self._masks.setdefault(region, planes.mask(region))
        places = [
            planes.address(some, region) + number * planes.plane_stride * item
            for some in inputs
            for number in range(len(some))
        ]
        offsets = (np.asarray(places, np.int64) - places[0]) // item
        added = [*bases, *(None,) * (2 - len(bases))]
        told = Layer(
            x=places[0],
            planes=offsets.ctypes.data,
            inputs=len(places),
            filters=layer.filters.ctypes.data,
            bias=layer.bias.ctypes.data,
            out=planes.address(out, region),
            outputs=layer.outputs,
            base=None if added[0] is None else planes.address(added[0].planes, region),
            second_base=None if added[1] is None else planes.address(added[1].planes, region),
            mask=mask.ctypes.data,
            plane_stride=planes.plane_stride,
            row_stride=planes.row_stride,
            phase_stride=planes.phase_stride,
            tiles=planes.tiles(region),
            rows=region.rows,
            slope=slope,
            gain=0 if added[0] is None else added[0].gain,
            second_gain=0 if added[1] is None else added[1].gain,
        )
        rows = -(-region.rows // TILE_PX)

        def some_rows(room: tuple[NDArray[np.float32], ...], first: int, stop: int) -> None:
            self._code.convolve(ctypes.byref(told), first, stop, *(part.ctypes.data for part in room))

        self._share(rows, some_rows)

    def take(self, planes: NDArray[np.float32], region: Region, out: NDArray[np.float32]) -> None:
        """See :meth:`Planes.take`."""
        self._share(len(out), lambda _, first, stop: self._planes.take(planes[first:stop], region, out[first:stop]))

    def _share(self, count: int, work: Callable[[tuple[NDArray[np.float32], ...], int, int], None]) -> None:
        """Have threads do parts of some work: ``work(room, first, stop)``."""
        if self._pool is None:
            work(self._rooms[0], 0, count)
            return
        pieces = min(count, _PIECES_PER_THREAD * len(self._rooms))
        bounds = iter([(count * piece // pieces, count * (piece + 1) // pieces) for piece in range(pieces)])
        lock = threading.Lock()

        def take_turns(room: tuple[NDArray[np.float32], ...]) -> None:
            while True:
                with lock:
                    bound = next(bounds, None)
                if bound is None:
                    return
                work(room, *bound)

        list(self._pool.map(take_turns, self._rooms))
