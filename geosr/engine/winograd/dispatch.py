"""Runs code on channels, on some threads."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.codegen.winograd.arguments import (
    BackprojectionArguments,
    Conv3x3Arguments,
    DeinterleaveArguments,
    SparseConvArguments,
)
from geosr.codegen.winograd.backprojection import PLACES, STEP_ROWS, STEPS_TOGETHER
from geosr.codegen.winograd.conv3x3 import APART, FILTER_TRANSFORM, PRODUCTS, TILE_PX
from geosr.codegen.winograd.library import Code
from geosr.engine.buffers import BufferPool
from geosr.engine.winograd.layout import PolyphaseLayout, Region
from geosr.model.kernels import STEP_REACH

#: BufferPool that a thread has to itself: for a layer's products, of what it reads and makes, and for filtered rows.
Scratch: TypeAlias = tuple[NDArray[np.float32], ...]


class Convolution:
    """A layer's filters, transformed."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], outputs: int) -> None:
        """``weight`` is ``(out, in, 3, 3)``; channels are made in multiples of ``outputs``, the last of them zero."""
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
class AddedBase:
    """Channels that a layer's result is added to after it was multiplied by ``gain``."""

    channels: NDArray[np.float32]
    gain: float


class StepFilters:
    """Filters for what the sensor sees of a channel that is interpolated, to be taken away."""

    def __init__(self, taps: NDArray[np.float32]) -> None:
        """``taps`` are those of :func:`geosr.model.kernels.upsample_observe`, for the rows as well as the columns."""
        self.along = np.ascontiguousarray(taps)
        self.across = -self.along


@dataclass(frozen=True)
class BackProjectionStep:
    """Channels of a step, one of each, of which some may be the same."""

    seen: NDArray[np.float32]
    base: NDArray[np.float32]
    """From this is taken away what the sensor sees."""
    made: NDArray[np.float32]
    second_base: NDArray[np.float32] | None = None
    known: NDArray[np.float32] | None = None
    """If given, the result is multiplied by it, and added to what is seen."""


class Taps:
    """Filters that are mostly zero, for channels of one shape."""

    def __init__(self, layout: PolyphaseLayout, filters: Sequence[Sequence[tuple[int, int, int, float]]]) -> None:
        """Each filter lists channels, rows and columns that it reads, relative to its own place, with their weights."""
        self.count = max(map(len, filters))
        self.offsets = np.zeros((len(filters), TILE_PX, self.count), np.int64)
        self.weights = np.zeros((len(filters), self.count), np.float32)
        for output, taps in enumerate(filters):
            for number, (channel, row, col, weight) in enumerate(taps):
                self.offsets[output, :, number] = layout.offset(channel, row, col)
                self.weights[output, number] = weight


class Runner:
    """Runs layers on channels of one shape, on some threads. Not for several callers at a time."""

    def __init__(
        self, layout: PolyphaseLayout, code: Code, threads: int, layers: Sequence[Convolution], memory: BufferPool
    ) -> None:
        self._layout, self._code = layout, code
        channels_at_once = [max(layer.inputs for layer in layers), max(layer.outputs for layer in layers)]
        sizes = [PRODUCTS * (code.tiles * count + APART) for count in channels_at_once]
        sizes.append(STEP_ROWS * layout.row_stride)
        self._scratch: list[Scratch] = [
            tuple(memory.scratch(f"scratch {thread} {number}", (scratch,)) for number, scratch in enumerate(sizes))
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
        bases: Sequence[AddedBase] = (),
    ) -> None:
        """Convolve a region of ``inputs``, each some channels, into the first of ``out``, which is none of them.

        ``slope`` is that of a leaky rectifier, 1 for none. The result is added to the ``bases``, two at most, in turn.
        """
        layout = self._layout
        places = np.concatenate([layout.addresses(some, region) for some in inputs])
        # Of each channel that after it is arguments too.
        offsets = (np.append(places, places[0]) - places[0]) // np.dtype(np.float32).itemsize
        added = [*bases, *(None,) * (2 - len(bases))]
        arguments = Conv3x3Arguments(
            source=int(places[0]),
            channel_offsets=offsets.ctypes.data,
            inputs=len(places),
            filters=layer.filters.ctypes.data,
            bias=layer.bias.ctypes.data,
            out=layout.address(out, region),
            outputs=layer.outputs,
            base=None if added[0] is None else layout.address(added[0].channels, region),
            second_base=None if added[1] is None else layout.address(added[1].channels, region),
            mask=self._mask(region).ctypes.data,
            channel_stride=layout.channel_stride,
            row_stride=layout.row_stride,
            phase_stride=layout.phase_stride,
            tiles=layout.tiles(region),
            rows=region.rows,
            slope=slope,
            gain=0 if added[0] is None else added[0].gain,
            second_gain=0 if added[1] is None else added[1].gain,
        )
        rows = -(-region.rows // TILE_PX)

        def some_rows(scratch: Scratch, first: int, stop: int) -> None:
            self._code.convolve(ctypes.byref(arguments), first, stop, *(part.ctypes.data for part in scratch[:2]))

        self.share(rows, some_rows)

    def gather(
        self,
        taps: Taps,
        region: Region,
        source: NDArray[np.float32],
        out: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> None:
        """Convolve a region of channels into others, and add a ``base``, which may be the same as ``out``."""
        some_rows = self._gathering(taps, region, source, self._layout.address(out, region), base)
        self.share(region.rows, lambda _, first, stop: some_rows(first, stop))

    def gather_rows(
        self,
        taps: Taps,
        region: Region,
        source: NDArray[np.float32],
        out: NDArray[np.float32],
        base: NDArray[np.float32],
        first: int,
    ) -> None:
        """Like :meth:`gather`, for a region's rows from ``first`` on, on the calling thread.

        There are as many as ``out`` holds, see :meth:`PolyphaseLayout.shape_of_rows`.
        """
        place = out.ctypes.data - first * self._layout.row_stride * out.itemsize
        some_rows = self._gathering(taps, region, source, place, base, out.strides[0] // out.itemsize)
        some_rows(first, first + out.shape[1])

    def _gathering(
        self,
        taps: Taps,
        region: Region,
        source: NDArray[np.float32],
        place: int,
        base: NDArray[np.float32] | None,
        out_stride: int | None = None,
    ) -> Callable[[int, int], None]:
        layout = self._layout
        arguments = SparseConvArguments(
            source=layout.address(source, region),
            out=place,
            base=None if base is None else layout.address(base, region),
            mask=self._mask(region).ctypes.data,
            weights=taps.weights.ctypes.data,
            offsets=taps.offsets.ctypes.data,
            outputs=len(taps.weights),
            taps=taps.count,
            channel_stride=layout.channel_stride,
            out_stride=layout.channel_stride if out_stride is None else out_stride,
            row_stride=layout.row_stride,
            phase_stride=layout.phase_stride,
            tiles=layout.tiles(region),
        )
        return partial(self._code.gather, ctypes.byref(arguments))

    def backproject(
        self,
        filters: StepFilters,
        band: int,
        region: Region,
        wanted: Sequence[BackProjectionStep],
        scratch: Scratch,
    ) -> None:
        """Steps one after another, with a band's filters; on the thread that asks for it, which the ``scratch`` is for.

        Beside the region, what is seen becomes what is at its edges, as far as filters reach.
        """
        layout = self._layout
        right = layout.beyond(region, STEP_REACH)
        for first in range(0, len(wanted), STEPS_TOGETHER):
            some = wanted[first : first + STEPS_TOGETHER]
            places = np.zeros((len(some), PLACES), np.int64)
            for number, step in enumerate(some):
                named = (step.seen, step.base, step.second_base, step.known, step.made)
                places[number] = [0 if one is None else layout.address(one, region) for one in named]
            arguments = BackprojectionArguments(
                channels=places.ctypes.data,
                steps=len(some),
                mask=self._mask(region).ctypes.data,
                along=filters.along[band].ctypes.data,
                across=filters.across[band].ctypes.data,
                right=right.ctypes.data,
                row_stride=layout.row_stride,
                phase_stride=layout.phase_stride,
                tiles=layout.tiles(region),
                rows=region.rows,
            )
            self._code.backproject(ctypes.byref(arguments), scratch[2].ctypes.data)

    def deinterleave(self, channels: NDArray[np.float32], region: Region, out: NDArray[np.float32]) -> None:
        """The middle of a region, as much as ``out`` holds, ``(channels, rows, cols)`` in one piece."""
        start, offsets = self._layout.middle(region, *out.shape[1:])
        place = self._layout.address(channels, region) + start * channels.itemsize
        some_channels = self._taking(place, self._layout.channel_stride, offsets, out)
        self.share(len(out), lambda _, first, stop: some_channels(first, stop))

    def deinterleave_rows(self, rows: NDArray[np.float32], region: Region, out: NDArray[np.float32]) -> None:
        """The middle of a region's rows, as many columns as ``out`` has, on the thread that asks for them."""
        _, offsets = self._layout.middle(region, region.rows, out.shape[2])
        self._taking(rows.ctypes.data, rows.strides[0] // rows.itemsize, offsets, out)(0, len(out))

    def _taking(
        self, place: int, channel_stride: int, offsets: NDArray[np.int64], out: NDArray[np.float32]
    ) -> Callable[[int, int], None]:
        _, rows, cols = out.shape
        arguments = DeinterleaveArguments(
            source=place,
            out=out.ctypes.data,
            pixel_offsets=offsets.ctypes.data,
            channel_stride=channel_stride,
            row_stride=self._layout.row_stride,
            rows=rows,
            cols=cols,
        )
        return partial(self._code.deinterleave, ctypes.byref(arguments))

    def _mask(self, region: Region) -> NDArray[np.float32]:
        """Kept, for code is arguments where it is."""
        if region not in self._masks:
            self._masks[region] = self._layout.mask(region)
        return self._masks[region]

    def share(self, count: int, work: Callable[[Scratch, int, int], object]) -> None:
        """Have threads do parts of some work: ``work(scratch, first, stop)``."""
        if self._pool is None:
            work(self._scratch[0], 0, count)
            return
        bounds = _pieces(count, len(self._scratch))
        lock = threading.Lock()

        def take_turns(scratch: Scratch) -> None:
            while True:
                with lock:
                    bound = next(bounds, None)
                if bound is None:
                    return
                work(scratch, *bound)

        list(self._pool.map(take_turns, self._scratch))


def _pieces(count: int, threads: int) -> Iterator[tuple[int, int]]:
    """Parts of some work, each smaller than the one before: where cores are shared, all end at about the same time."""
    first = 0
    while first < count:
        stop = first + max(1, (count - first) // (2 * threads))
        yield first, stop
        first = stop
