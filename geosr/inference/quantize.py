"""Conversion of an engine's image to DN in the source's type, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalog import BandSpec
from geosr import hardware
from geosr.engine.buffers import BufferPool
from geosr.engine.rows import Rows, in_strips
from geosr.model.bands import BandMapping
from tiling import nearest_non_nodata

if TYPE_CHECKING:
    from geosr.codegen.quantize import QuantizeKernel

#: Is given the number of the first of some rows, and these, which are its own until it returns.
RowSink: TypeAlias = Callable[[int, NDArray[Any]], None]


class ToDn:
    """For the bands of one scene."""

    def __init__(
        self,
        bands: Sequence[BandSpec],
        mapping: BandMapping,
        reference: NDArray[np.float32],
        scale: int,
        threads: int,
        memory: BufferPool,
    ) -> None:
        """``reference`` is the reflectance that is 1 to the model, a column for its bands or one for all of them."""
        self._bands, self._mapping, self._reference = tuple(bands), mapping, reference
        self._dn_scale = column([band.scale for band in bands])
        self._dn_offset = column([band.offset for band in bands])
        self._scale, self._threads, self._memory = scale, threads, memory

    def write_rows(
        self,
        image: Rows,
        valid: NDArray[np.bool_],
        dtype: np.dtype[Any],
        sink: RowSink,
        rows_per_call: int,
    ) -> None:
        """DN in the source's type at their places, with nodata where it belongs and nowhere else.

        ``valid`` is ``(bands, rows, cols)`` of the source; ``rows_per_call`` go to ``sink`` at a time.
        """
        bands, rows, cols = valid.shape
        native = self._native(dtype)

        def finish(some: slice) -> None:
            size = (some.stop - some.start) * self._scale
            out = self._memory.borrow("rows", (bands, size, cols * self._scale), dtype)
            in_strips(some.stop - some.start, 1, lambda strip: fill(some.start, strip, out))
            sink(some.start * self._scale, out)

        def fill(start: int, strip: slice, out: NDArray[Any]) -> None:
            part = out[:, strip.start * self._scale : strip.stop * self._scale]
            polyphase = image(start + strip.start, start + strip.stop)
            if native is not None and native.accepts(polyphase):
                native(polyphase, part)
            else:
                dn = self._by_numpy(polyphase, dtype)
                # A view of the rows of blocks: band, row, row in the block, column, column in the block.
                part.reshape(bands, -1, self._scale, cols, self._scale)[:] = dn.transpose(0, 3, 1, 4, 2)
                self._avoid_nodata(part)
            self._mark_nodata(part, valid[:, start + strip.start : start + strip.stop])

        in_strips(rows, self._threads, finish, rows_per_call // self._scale)

    def write_nodata(self, valid: NDArray[np.bool_], dtype: np.dtype[Any], sink: RowSink, rows_per_call: int) -> None:
        """Write nodata for a window in which nothing was measured."""

        def fill(some: slice) -> None:
            part = valid[:, some]
            out = np.zeros((len(part), part.shape[1] * self._scale, part.shape[2] * self._scale), dtype=dtype)
            self._mark_nodata(out, part)
            sink(some.start * self._scale, out)

        in_strips(valid.shape[1], self._threads, fill, rows_per_call // self._scale)

    def _native(self, dtype: np.dtype[Any]) -> QuantizeKernel | None:
        """Compiled code equal to :meth:`_by_numpy` and :meth:`_avoid_nodata` in one pass; None where there is none."""
        sources = self._mapping.sources
        if sources is None or not hardware.has_native():
            return None
        from geosr.codegen.quantize import QuantizeKernel

        if not QuantizeKernel.makes(dtype):
            return None
        reference = np.broadcast_to(self._reference, (len(self._mapping.to_model), 1, 1))[list(sources)]
        nodata = [band.nodata for band in self._bands]
        return QuantizeKernel(sources, reference, self._dn_offset, self._dn_scale, dtype, nodata)

    def _by_numpy(self, polyphase: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """``(bands, block row, block column, rows, cols)`` of the scene's bands."""
        reflectance = polyphase * self._reference[..., None]
        _, count, rows, cols = reflectance.shape
        mixed = self._mapping.leave(reflectance.reshape(len(reflectance), -1, cols)).reshape(-1, count, rows, cols)
        values = (mixed - self._dn_offset[..., None]) / self._dn_scale[..., None]
        return _to_dtype(values, dtype).reshape(-1, self._scale, self._scale, rows, cols)

    def _avoid_nodata(self, out: NDArray[Any]) -> None:
        for b, band in enumerate(self._bands):
            if band.nodata is None:
                continue
            taken = out[b] == band.nodata
            if taken.any():
                out[b][taken] = nearest_non_nodata(band.nodata, out.dtype)

    def _mark_nodata(self, out: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        for b, band in enumerate(self._bands):
            if band.nodata is not None and not valid[b].all():
                out[b][enlarge(~valid[b : b + 1], self._scale)[0]] = band.nodata


def enlarge(valid: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """``(bands, rows, cols)`` at high resolution, pixel by pixel."""
    return valid.repeat(scale, axis=1).repeat(scale, axis=2)


def column(values: Sequence[float]) -> NDArray[np.float32]:
    """A value for each band of ``(bands, rows, cols)``."""
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)


def _to_dtype(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    highest = np.float32(limits.max)
    if int(highest) > limits.max:
        # Of 32 bits and more the largest is rounded up, out of the type.
        highest = np.nextafter(highest, np.float32(0))
    return np.clip(np.rint(values), np.float32(limits.min), highest).astype(dtype)
