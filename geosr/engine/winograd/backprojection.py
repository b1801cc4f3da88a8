"""Steps of back-projection, at low resolution: what is pulled up, so that the sensor would see the source.

Each step passes over few pixels, and there are many steps: a thread has a band to itself, and need not wait for others
in between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geosr.engine.winograd.planes import Planes, Region
from geosr.engine.winograd.run import Runner, Taps
from geosr.model import kernels

#: Low-resolution pixels that the round trip of :func:`geosr.model.kernels.round_trip` reaches.
TRIP_REACH = kernels.BLUR_REACH + kernels.CUBIC_REACH


class RoundTrip:
    """Takes away from an image what the sensor sees of another one when that is interpolated."""

    def __init__(self, planes: Planes, runner: Runner, taps: NDArray[np.float32]) -> None:
        """``taps`` is ``(bands, taps)``."""
        self._planes, self._runner = planes, runner
        places = [list(enumerate(weights, -TRIP_REACH)) for weights in taps.tolist()]
        #: Of each band, along the rows and across them.
        self._pairs = [
            (
                Taps(planes, [[(0, 0, place, weight) for place, weight in one]]),
                Taps(planes, [[(0, place, 0, -weight) for place, weight in one]]),
            )
            for one in places
        ]

    def __call__(
        self,
        band: int,
        region: Region,
        image: NDArray[np.float32],
        half: NDArray[np.float32],
        base: NDArray[np.float32],
        out: NDArray[np.float32],
        second_base: NDArray[np.float32] | None = None,
    ) -> None:
        """A band's ``out`` is the ``base``, and a second one, less what is seen of the ``image``; some may be the same.

        All are planes, of each band one, ``half`` those to work in. On the thread that asks for it.
        """
        planes, (along, across) = self._planes, self._pairs[band]
        image, half, base, out = (one[band : band + 1] for one in (image, half, base, out))
        second_base = None if second_base is None else second_base[band : band + 1]
        planes.repeat_edges(image, region, cols=TRIP_REACH)
        self._runner.gathering(along, region, image, half)(0, region.rows)
        planes.repeat_edges(half, region, rows=TRIP_REACH)
        self._runner.gathering(across, region, half, out, base, second_base)(0, region.rows)


class BackProjection:
    """For chunks of one shape."""

    def __init__(self, planes: Planes, runner: Runner, taps: NDArray[np.float32], steps: int) -> None:
        """``taps`` are those of the round trip by way of bicubic interpolation."""
        self._planes, self._runner, self._steps = planes, runner, steps
        self._trip = RoundTrip(planes, runner, taps)

    def __call__(
        self,
        region: Region,
        left: NDArray[np.float32],
        pulled: NDArray[np.float32],
        half: NDArray[np.float32],
        measured: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    ) -> None:
        """From what is ``left`` of the source to what is ``pulled`` up, and to what is then left.

        All are planes, of each band one. Where not all was ``measured``, that is 1 where it was and 0 elsewhere, and
        planes to work in.
        """

        def some(_: object, first: int, stop: int) -> None:
            for band in range(first, stop):
                self._band(band, region, left, pulled, half, measured)

        self._runner.share(len(left), some)

    def _band(
        self,
        band: int,
        region: Region,
        left: NDArray[np.float32],
        pulled: NDArray[np.float32],
        half: NDArray[np.float32],
        measured: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    ) -> None:
        """What a step pulls up is what is left of the source after those before: a sum of all of them follows itself.

        ``p + known * (left - seen(p))`` has one step more than ``p``.
        """
        there, image = (self._planes.part(one[band : band + 1], region) for one in (left, pulled))
        if measured is None:
            np.copyto(image, there)
            for _ in range(self._steps - 1):
                self._trip(band, region, pulled, half, pulled, pulled, left)
        else:
            known, step = (self._planes.part(one[band : band + 1], region) for one in measured)
            np.multiply(there, known, image)
            for _ in range(self._steps - 1):
                self._trip(band, region, pulled, half, left, measured[1])
                np.multiply(step, known, step)
                np.add(image, step, image)
        self._trip(band, region, pulled, half, left, left)
