"""Observation of the DN that are written, gathered while they go out strip by strip.

Rounding, the limits of a type, nodata that is avoided and bounds of what is plausible move pixels after a model has
compared its image with the source: what is claimed of a product is measured on the product.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.inference.quantize import enlarge
from geosr.model.kernels import BLUR_REACH

#: Rows of the product that are blurred at a time: with more, most of what is multiplied is 0.
_STRIP_ROWS = 64


class WrittenImage:
    """The observation of one window's DN, ``(bands, rows, cols)`` of the source."""

    def __init__(self, taps: NDArray[np.float32], valid: NDArray[np.bool_], scale: int) -> None:
        """``taps`` is each band's blur, ``(bands, taps)``, ``valid`` what was measured of the window."""
        self._taps, self._valid, self._scale = taps, valid, scale
        self._all_valid = bool(valid.all())
        self._seen = np.zeros(valid.shape, dtype=np.float32)
        self._adding = threading.Lock()

    def add(self, first: int, part: NDArray[Any]) -> None:
        """Take rows of the product, from number ``first`` on, into account; from any thread."""
        for start in range(0, part.shape[1], _STRIP_ROWS):
            self._add(first + start, part[:, start : start + _STRIP_ROWS])

    def observed(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """DN that the sensor would see, and where they follow from the window alone.

        That is where the blur reaches neither beyond the window nor a pixel without measurement.
        """
        known = np.zeros_like(self._valid)
        inner = (slice(None), slice(BLUR_REACH, -BLUR_REACH), slice(BLUR_REACH, -BLUR_REACH))
        known[inner] = _all_around(self._valid)
        return self._seen, known

    def _add(self, first: int, part: NDArray[Any]) -> None:
        scale, (_, rows, cols) = self._scale, self._valid.shape
        if not self._all_valid:
            lr = slice(first // scale, (first + part.shape[1]) // scale)
            part = np.where(enlarge(self._valid[:, lr], scale), part, part.dtype.type(0))
        top = max(0, first // scale - BLUR_REACH)
        bottom = min(rows, -(-(first + part.shape[1]) // scale) + BLUR_REACH)
        # Which tap of a row of the source each row of the product is under.
        under = first + np.arange(part.shape[1]) - scale * (np.arange(top, bottom)[:, None] - BLUR_REACH)
        count = self._taps.shape[1]
        inside = (under >= 0) & (under < count)
        down = np.where(inside, self._taps[:, under.clip(0, count - 1)], np.float32(0))
        coarse_rows = np.matmul(down, part.astype(np.float32)).reshape(len(part), bottom - top, cols, scale)
        split = self._taps.reshape(len(part), 1, -1, scale).transpose(0, 1, 3, 2)
        across = np.matmul(coarse_rows, split)
        seen = np.zeros((len(part), bottom - top, cols), dtype=np.float32)
        for k in range(across.shape[-1]):
            shift = k - BLUR_REACH
            to, where = (slice(max(0, -shift), cols - max(0, shift)), slice(max(0, shift), cols - max(0, -shift)))
            seen[..., to] += across[..., where, k]
        with self._adding:
            self._seen[:, top:bottom] += seen


def _all_around(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels have only valid ones as far as the blur reaches, without a margin as wide."""
    side = 2 * BLUR_REACH + 1
    if min(valid.shape[1:]) < side:
        return valid[:, BLUR_REACH:-BLUR_REACH, BLUR_REACH:-BLUR_REACH]
    windows = np.lib.stride_tricks.sliding_window_view(valid, side, axis=1).all(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(windows, side, axis=2).all(axis=-1))
