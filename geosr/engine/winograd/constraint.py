"""Steps after a network, on channels: interpolation, the residual, back-projection.

As :meth:`geosr.model.generator.Generator.constrain`, with every filter along one axis at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosr.engine.winograd.backprojection import BackProjection
from geosr.engine.winograd.dispatch import BackProjectionStep, Runner, Scratch, StepFilters, Taps
from geosr.engine.winograd.layout import PolyphaseLayout, Region
from geosr.model import kernels
from geosr.model.kernels import Base

#: Filters along the rows, then those across them, which follow.
_Pair: TypeAlias = tuple[Taps, Taps]

#: Images at low resolution that are worked on.
_LOW = 2


def channels_for(bands: int, scale: int) -> int:
    """Channels in which a constraint works."""
    return _LOW * bands + bands * scale


@dataclass(frozen=True)
class ConstrainedImage:
    """Channels of a finished chunk: its image is the last filter's output of ``half``, added to the ``residual``."""

    region: Region
    residual: NDArray[np.float32]
    half: NDArray[np.float32]
    last: Taps
    observed: NDArray[np.float32]
    """The image as the sensor observes it."""


class Constraint:
    """For chunks of one shape."""

    def __init__(
        self,
        layout: PolyphaseLayout,
        runner: Runner,
        *,
        taps: NDArray[np.float32],
        scale: int,
        base: Base,
        steps: int,
        noise_limits: Sequence[float] = (),
    ) -> None:
        """``taps`` are the sensor's, ``base`` is what the residual is added to, ``steps`` are back-projection's.

        ``noise_limits`` are those of :meth:`geosr.model.card.ModelCard.noise_limits`.
        """
        self._noise_limits = np.asarray(noise_limits, np.float32).reshape(-1, 1, 1, 1)
        self._layout, self._runner, self._base, self._steps = layout, runner, base, steps
        bands = self._bands = len(taps)
        self._half = slice(_LOW * bands, channels_for(bands, scale))
        self._blur = _blur(layout, taps, scale)
        bases: set[Base] = {base, "bicubic"} - {"none"}
        taps_of = {one: kernels.upsample_observe(taps, scale, one) for one in {*bases, "bicubic"}}
        self._step_filters = {one: StepFilters(taps_of[one]) for one in bases}
        self._back_projection = BackProjection(layout, runner, taps_of["bicubic"], steps)
        self._interpolations = {one: _interpolation(layout, bands, one, scale) for one in bases}
        self._nothing = Taps(layout, [()] * bands * scale**2)

    def __call__(
        self,
        region: Region,
        residual: NDArray[np.float32],
        lr: NDArray[np.float32],
        valid: NDArray[np.float32],
        scratch: NDArray[np.float32],
    ) -> ConstrainedImage:
        """All but the last pass over the image, which is made where its rows are read.

        After the ``residual`` follow, with noise limits, the estimates of the bands' noise. ``lr`` has such channels,
        ``scratch`` as many others as :func:`channels_for` says, and ``valid`` is that of the whole chunk,
        ``(bands, rows, cols)``.
        """
        layout, bands = self._layout, self._bands
        all_left, all_pulled = (scratch[number * bands :][:bands] for number in range(_LOW))
        half = scratch[self._half]
        residual, estimates = np.split(residual, [len(residual) - len(self._noise_limits)])
        low, left, pulled = (layout.part(one, region) for one in (lr, all_left, all_pulled))
        # The sensor is linear: what it sees of the interpolation follows from the source.
        if self._base == "none":
            self._each(np.copyto, left, low)
        else:
            self._see(self._step_filters[self._base], region, lr, all_left)
        self._along(self._blur[0], region, residual, half, kernels.BLUR_REACH)
        self._runner.gather(self._blur[1], region, half, all_left, all_left)
        everywhere = bool(valid.all())
        if not everywhere:
            layout.put(valid, half)
        noise = None
        if len(self._noise_limits):
            noise = layout.part(estimates, region)
            self._fine_noise(region, noise, None if everywhere else half[:bands], all_pulled, half[bands : 2 * bands])
            self._each(np.subtract, left, noise, left)
        if self._steps:
            self._back_projection(region, all_left, all_pulled, None if everywhere else half)
        else:
            pulled[...] = 0
        # Now for what is observed.
        self._each(np.subtract, low, left, left)
        if noise is not None:
            self._each(np.subtract, left, noise, left)
        added: list[tuple[Base, NDArray[np.float32]]] = []
        if self._base == "bicubic":
            self._each(np.add, pulled, low, pulled)
        elif self._base != "none":
            added.append((self._base, lr))
        if self._base == "bicubic" or self._steps:
            added.append(("bicubic", all_pulled))
        last = self._nothing
        for number, (base, image) in enumerate(added, 1):
            along, across = self._interpolations[base]
            self._along(along, region, image, half, kernels.CUBIC_REACH)
            last = across
            if number < len(added):
                self._runner.gather(across, region, half, residual, residual)
        # As the network left them.
        layout.clear_around(residual, region, cols=kernels.BLUR_REACH)
        layout.clear_around(lr, region, cols=kernels.STEP_REACH)
        return ConstrainedImage(region, residual, half, last, all_left)

    def _fine_noise(
        self,
        region: Region,
        noise: NDArray[np.float32],
        measured: NDArray[np.float32] | None,
        spare: NDArray[np.float32],
        zeros: NDArray[np.float32],
    ) -> None:
        """Turn the network's estimates into noise without its coarse part, in their memory.

        As :meth:`geosr.model.generator.Generator.constrain`. ``spare`` and ``zeros`` are channels to work in.
        """
        coarse, limits = self._layout.part(spare, region), self._noise_limits
        zeros[...] = 0
        self._each(np.abs, noise, coarse)
        self._each(np.add, coarse, np.ones_like(limits), coarse)
        self._each(np.divide, noise, coarse, noise)
        self._each(np.multiply, noise, limits, noise)
        if measured is not None:
            self._each(np.multiply, noise, self._layout.part(measured, region), noise)
        self._each(np.copyto, coarse, noise)

        def some(scratch: Scratch, first: int, stop: int) -> None:
            for band in range(first, stop):
                image, nothing = spare[band : band + 1], zeros[band : band + 1]
                # Each takes what is seen from nothing: an even number of signs.
                steps = [BackProjectionStep(image, nothing, image)] * kernels.COARSE_STEPS
                self._runner.backproject(self._step_filters["bicubic"], band, region, steps, scratch)

        self._runner.share(self._bands, some)
        self._each(np.subtract, noise, coarse, noise)

    def _each(self, work: Callable[..., object], *parts: NDArray[np.float32]) -> None:
        """Have threads do some bands of parts each."""
        self._runner.share(self._bands, lambda _, first, stop: work(*(part[first:stop] for part in parts)))

    def _see(self, filters: StepFilters, region: Region, image: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """An image less what the sensor would see of it, interpolated."""

        def some(scratch: Scratch, first: int, stop: int) -> None:
            for band in range(first, stop):
                part = image[band : band + 1]
                self._runner.backproject(
                    filters, band, region, [BackProjectionStep(part, part, out[band : band + 1])], scratch
                )

        self._runner.share(self._bands, some)

    def _along(
        self, taps: Taps, region: Region, image: NDArray[np.float32], half: NDArray[np.float32], reach: int
    ) -> None:
        """The first of two filters, and what the second needs beyond the edges."""
        self._layout.repeat_edges(image, region, cols=reach)
        self._runner.gather(taps, region, image, half)
        self._layout.repeat_edges(half, region, rows=reach)


def _blur(layout: PolyphaseLayout, taps: NDArray[np.float32], scale: int) -> _Pair:
    """Filters for what the sensor sees of an image, to be taken away: of the columns of each band, then of the rows."""
    split, reach = taps.reshape(len(taps), -1, scale), kernels.BLUR_REACH
    along = [
        [
            (band * scale**2 + i * scale + j, 0, col - reach, weights[col, j])
            for col in range(2 * reach + 1)
            for j in range(scale)
        ]
        for band, weights in enumerate(split)
        for i in range(scale)
    ]
    across = [
        [(band * scale + i, row - reach, 0, -weights[row, i]) for row in range(2 * reach + 1) for i in range(scale)]
        for band, weights in enumerate(split)
    ]
    return Taps(layout, along), Taps(layout, across)


def _interpolation(layout: PolyphaseLayout, bands: int, base: Base, scale: int) -> _Pair:
    """Filters that interpolate each band: along its columns, then along its rows."""
    weights: Sequence[Sequence[float]] = kernels.along_one_axis(base, scale).tolist()
    places = [[(place, one) for place, one in enumerate(phase, -kernels.CUBIC_REACH) if one] for phase in weights]
    along = [[(band, 0, place, weight) for place, weight in phase] for band in range(bands) for phase in places]
    across = [
        [(band * scale + j, place, 0, weight) for place, weight in places[i]]
        for band in range(bands)
        for i in range(scale)
        for j in range(scale)
    ]
    return Taps(layout, along), Taps(layout, across)
