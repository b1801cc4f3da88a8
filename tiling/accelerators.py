"""Optional accelerated implementations of steps that :mod:`tiling` does with NumPy."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Accelerator(Protocol):
    """Makes the same bits; returns whether it could. Where not, NumPy does."""

    def differences(self, pixels: NDArray[Any], out: NDArray[Any]) -> bool:
        """Of ``(bands, rows, cols)`` each pixel less the one before it in its row, into ``(rows, cols, bands)``."""
        ...

    def halves(self, pixels: NDArray[Any], out: NDArray[Any], nodata: float | None) -> bool:
        """What :func:`tiling.overviews.halve` makes of ``(rows, cols)``, both even; ``nodata`` is of their type."""
        ...
