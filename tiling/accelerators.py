"""Interface of optional accelerated implementations."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Accelerator(Protocol):
    """Compiled replacements with the same results. Each method returns False if it does not support the arrays."""

    def differences(self, pixels: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write differences between neighbours in a row of ``(bands, rows, cols)`` into ``(rows, cols, bands)``."""
        ...

    def halves(self, pixels: NDArray[Any], out: NDArray[Any], nodata: float | None) -> bool:
        """Halve ``(rows, cols)``, both even, like :func:`tiling.overviews.halve`; ``nodata`` is of their type."""
        ...
