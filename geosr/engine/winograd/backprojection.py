"""Steps of back-projection, at low resolution: what is pulled up, so that the sensor would see the source.

Each step passes over few pixels, and there are many steps: a thread has a band to itself, and need not wait for others
in between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geosr.engine.winograd.dispatch import BackProjectionStep, Runner, Scratch, StepFilters
from geosr.engine.winograd.layout import PolyphaseLayout, Region


class BackProjection:
    """For chunks of one shape."""

    def __init__(self, layout: PolyphaseLayout, runner: Runner, taps: NDArray[np.float32], steps: int) -> None:
        """``taps`` are those of a step by way of bicubic interpolation."""
        self._layout, self._runner, self._steps = layout, runner, steps
        self._filters = StepFilters(taps)

    def __call__(
        self,
        region: Region,
        left: NDArray[np.float32],
        pulled: NDArray[np.float32],
        measured: NDArray[np.float32] | None,
    ) -> None:
        """From what is ``left`` of the source to what is ``pulled`` up, and to what is then left.

        All are channels, of each band one. Where not all was ``measured``, that is 1 where it was and 0 elsewhere.
        """

        def some(scratch: Scratch, first: int, stop: int) -> None:
            for band in range(first, stop):
                self._band(scratch, band, region, left, pulled, measured)

        self._runner.share(len(left), some)

    def _band(
        self,
        scratch: Scratch,
        band: int,
        region: Region,
        left: NDArray[np.float32],
        pulled: NDArray[np.float32],
        measured: NDArray[np.float32] | None,
    ) -> None:
        """Compute the residual that a step pulls up: what those before it left of the source. Their sum follows itself.

        ``p + known * (left - seen(p))`` has one step more than ``p``.
        """
        left, pulled = left[band : band + 1], pulled[band : band + 1]
        known = None if measured is None else measured[band : band + 1]
        there, image = self._layout.part(left, region), self._layout.part(pulled, region)
        if known is None:
            np.copyto(image, there)
            step = BackProjectionStep(pulled, pulled, pulled, left)
        else:
            np.multiply(there, self._layout.part(known, region), image)
            step = BackProjectionStep(pulled, left, pulled, known=known)
        steps = [*[step] * (self._steps - 1), BackProjectionStep(pulled, left, left)]
        self._runner.backproject(self._filters, band, region, steps, scratch)
