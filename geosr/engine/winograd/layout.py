"""Layout of polyphase channels in memory, for vectors of tiles; ``geosr/codegen/README.md`` draws it.

Each row of a channel is split into four polyphase channels, one after another: the columns 0, 4, 8, …, then 1, 5, 9, …
The same pixel of all tiles then lies side by side. Around each channel there are zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.winograd.conv3x3 import TILE_PX
from geosr.engine.buffers import LINE_BYTES

#: Floats before each phase: what tiles read beyond the image, and as far as vectors reach beyond the last phase's end.
_PAD = 16

#: Floats in a line of the processor's cache.
_LINE = LINE_BYTES // np.dtype(np.float32).itemsize

#: Rows above and below, and how far from a region its edges may be repeated.
AROUND_PX = 4


@dataclass(frozen=True)
class Region:
    """The part of channels that a layer works on; ``margin`` pixels are left out on each side."""

    margin: int
    """A multiple of :data:`TILE_PX`."""
    rows: int
    cols: int

    def inside(self, margin: int) -> Region:
        """Region with this margin, or a somewhat smaller one, so that tiles stay whole."""
        margin = max(self.margin, margin // TILE_PX * TILE_PX)
        less = 2 * (margin - self.margin)
        return Region(margin, self.rows - less, self.cols - less)


class PolyphaseLayout:
    """Channels for images of one shape, and regions of them."""

    def __init__(self, rows: int, cols: int, step: int) -> None:
        """``step`` is what the tiles in a row are made a multiple of."""
        self._step = step
        # An odd number of cache lines: rows and polyphase channels are then spread over all of the cache's sets.
        self.phase_stride = _LINE * (-(-(self._tiles_of(cols) + _PAD) // _LINE) | 1)
        self._rows = -(-rows // TILE_PX) * TILE_PX + 2 * AROUND_PX
        self.row_stride = TILE_PX * self.phase_stride
        self.channel_stride = self._rows * self.row_stride
        self.whole = Region(0, rows, cols)

    def shape(self, count: int) -> tuple[int, ...]:
        """Shape of ``count`` channels, ``(channels, rows, TILE_PX, columns / 4)``, padded; one more for its zeros."""
        return count + 1, self._rows, TILE_PX, self.phase_stride

    def scratch_shape(self, count: int) -> tuple[int]:
        """The shape of memory for so many channels, wherever :meth:`aligned` has them begin."""
        return (math.prod(self.shape(count)) + _LINE,)

    def shape_of_rows(self, count: int, rows: int) -> tuple[int, ...]:
        """Shape of so many rows of a region in so many channels, with nothing before its first column."""
        return count, rows, TILE_PX, self.phase_stride

    def aligned(self, scratch: NDArray[np.float32], region: Region) -> NDArray[np.float32]:
        """All channels in such memory, laid out so that vectors of a region's tiles begin with a line of the cache."""
        first = _LINE - region.margin // TILE_PX % _LINE
        return scratch[first : first + len(scratch) - _LINE].reshape(-1, *self.shape(0)[1:])[:-1]

    def tiles(self, region: Region) -> int:
        """Tiles in a row of a region, of which the last may be beyond it."""
        return self._tiles_of(region.cols)

    def address(self, channels: NDArray[np.float32], region: Region) -> int:
        """Address of the region's first pixel in the first channel."""
        return channels.ctypes.data + channels.itemsize * (
            (AROUND_PX + region.margin) * self.row_stride + _PAD + region.margin // TILE_PX
        )

    def addresses(self, channels: NDArray[np.float32], region: Region) -> NDArray[np.int64]:
        """Addresses of the region's first pixel in each of the channels."""
        apart = channels.itemsize * self.channel_stride
        return self.address(channels, region) + apart * np.arange(len(channels), dtype=np.int64)

    def mask(self, region: Region) -> NDArray[np.float32]:
        """1 for the columns of a region and 0 for others, from its first: ``(TILE_PX, columns / 4)``."""
        columns = np.arange(self.phase_stride * TILE_PX).reshape(self.phase_stride, TILE_PX).T
        return np.ascontiguousarray(columns < region.cols, np.float32)

    def put(self, image: NDArray[np.float32], channels: NDArray[np.float32]) -> None:
        """``(channels, rows, cols)`` of the whole region into as many channels."""
        rows = slice(AROUND_PX, AROUND_PX + image.shape[1])
        for phase in range(TILE_PX):
            columns = image[:, :, phase::TILE_PX]
            channels[: len(image), rows, phase, _PAD : _PAD + columns.shape[2]] = columns

    def clear_below(self, scratch: NDArray[np.float32], region: Region) -> None:
        """Zeros in what the last tiles of a region read below it, wherever :meth:`aligned` has channels begin.

        There nobody need write anything; beside an image, those who write it write zeros.
        """
        bottom = AROUND_PX + region.margin + region.rows
        # One row more than a tile has, for channels may begin a little later than here.
        self.aligned(scratch, self.whole)[:, bottom : bottom + TILE_PX + 1] = 0

    def clear_around(self, channels: NDArray[np.float32], region: Region, *, cols: int = 1) -> None:
        """Zeros around a region, as around an image of its size: a row, and so many columns."""
        top, left = AROUND_PX + region.margin, region.margin
        channels[:, top - 1] = 0
        channels[:, top + region.rows] = 0
        for number in range(cols):
            self._column(channels, left - 1 - number)[...] = 0
            self._column(channels, left + region.cols + number)[...] = 0

    def repeat_edges(self, channels: NDArray[np.float32], region: Region, *, rows: int = 0, cols: int = 0) -> None:
        """Around a region, what is at its edge: so many rows and columns, four at most."""
        top, left = AROUND_PX + region.margin, region.margin
        bottom, right = top + region.rows, left + region.cols
        for number in range(1, cols + 1):
            self._column(channels, left - number)[...] = self._column(channels, left)
            self._column(channels, right - 1 + number)[...] = self._column(channels, right - 1)
        channels[:, top - rows : top] = channels[:, top, None]
        channels[:, bottom : bottom + rows] = channels[:, bottom - 1, None]

    def middle(self, region: Region, rows: int, cols: int) -> tuple[int, NDArray[np.int64]]:
        """Offsets of the middle of a region, so many rows and columns of it.

        Returns how far its first pixel is from the region's, in floats, and how far from there that pixel and its
        neighbours on the right are, up to the one with which the next tile begins.
        """
        top, left = (region.rows - rows) // 2, (region.cols - cols) // 2
        places = [divmod(left + col, TILE_PX) for col in range(TILE_PX)]
        offsets = [phase * self.phase_stride + tile for tile, phase in places]
        return top * self.row_stride, np.asarray(offsets, np.int64)

    def beyond(self, region: Region, cols: int) -> NDArray[np.int64]:
        """Offsets, in floats, of a region's last column and of so many beyond it, from its first."""
        places = [divmod(region.cols - 1 + col, TILE_PX) for col in range(cols + 1)]
        return np.asarray([phase * self.phase_stride + tile for tile, phase in places], np.int64)

    def offset(self, channel: int, row: int, col: int) -> list[int]:
        """Offset, in floats, of a pixel from the same place in the first channel; one for each column of a tile."""
        there = [divmod(phase + col, TILE_PX) for phase in range(TILE_PX)]
        start = channel * self.channel_stride + row * self.row_stride
        return [start + phase * self.phase_stride + tile for tile, phase in there]

    def part(self, channels: NDArray[np.float32], region: Region) -> NDArray[np.float32]:
        """All that vectors reach of a region: ``(channels, rows, TILE_PX, tiles)``."""
        top, left = AROUND_PX + region.margin, _PAD + region.margin // TILE_PX
        return channels[:, top : top + region.rows, :, left : left + self.tiles(region)]

    def _column(self, channels: NDArray[np.float32], column: int) -> NDArray[np.float32]:
        """A view of a column of all channels, of which those beyond the last tile lie where the next phase begins."""
        tile, phase = divmod(column, TILE_PX)
        first = phase * self.phase_stride + _PAD + tile
        # What follows the last row of a channel is in the next.
        return channels.reshape(len(channels), -1)[:, first :: self.row_stride][:, : self._rows - 1]

    def _tiles_of(self, cols: int) -> int:
        tiles = -(-cols // TILE_PX)
        return -(-tiles // self._step) * self._step
