"""Places of a real scene at which products are looked at: calm water, calm land, and where there is most contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from geosr.evaluate.real.noise import grain
from geosr.evaluate.real.subject import VISIBLE

#: Side of a place, source pixels, and of the border that places keep from.
_SIDE_PX, _BORDER_PX = 40, 8

#: Percentiles of the source that are black and white.
_LIMITS = (0.5, 99.5)


@dataclass(frozen=True)
class Crop:
    """One place as every contender shows it."""

    what: str
    top_px: int
    left_px: int
    """In source pixels."""
    side_px: int
    limits: tuple[float, float]
    """Reflectance that is black and white: one stretch for the source and all contenders."""
    source: NDArray[np.float64]
    """Blue, green and red reflectance ``(3, side, side)``."""
    images: dict[str, NDArray[np.float64]]
    """By contender, ``(3, scale side, scale side)``."""


def choose(scene: Tensor, calm: NDArray[np.bool_], images: Mapping[str, Tensor]) -> tuple[Crop, ...]:
    """Places of a scene whose first bands are blue, green and red; ``images`` begin with the same bands.

    Calm water is left out where there is none, and everything in a scene smaller than a place.
    """
    rows, cols = scene.shape[1:]
    side = min(_SIDE_PX, rows - 2 * _BORDER_PX, cols - 2 * _BORDER_PX)
    if side < _BORDER_PX:
        return ()
    contrast = _mean_within(np.square(grain(scene[: len(VISIBLE)])).mean(axis=0), side)
    water = _mean_within(calm.astype(np.float64), side)
    dry = np.where(_mean_within((scene[-1] < 0.05).double().numpy(), side) > 0, np.inf, contrast)
    places = {"most contrast": np.argmax(_kept(contrast, side, -np.inf))}
    if np.isfinite(_kept(dry, side, np.inf)).any():
        places = {"calm land": np.argmin(_kept(dry, side, np.inf)), **places}
    if calm.any():
        places = {"calm water": np.argmax(_kept(water, side, -np.inf)), **places}
    return tuple(_cut(what, scene, images, divmod(int(place), cols), side) for what, place in places.items())


def _mean_within(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """The mean of the square whose first pixel is each pixel."""
    # The filter's window begins half a side before its pixel.
    return np.asarray(ndimage.uniform_filter(values, side, mode="nearest", origin=-(side // 2)))


def _kept(values: NDArray[np.float64], side: int, outside: float) -> NDArray[np.float64]:
    """``values`` of squares inside the border, ``outside`` of all others."""
    result = np.full_like(values, outside)
    inside = (slice(_BORDER_PX, 1 - side - _BORDER_PX or None),) * 2
    result[inside] = values[inside]
    return result


def _cut(what: str, scene: Tensor, images: Mapping[str, Tensor], corner: tuple[int, int], side: int) -> Crop:
    top, left = corner
    source = _window(scene, top, left, side, 1)
    limits = np.percentile(source, _LIMITS)
    made = {name: _window(image, top, left, side, image.shape[1] // scene.shape[1]) for name, image in images.items()}
    return Crop(what, top, left, side, (float(limits[0]), max(float(limits[1]), float(limits[0]) + 1e-6)), source, made)


def _window(image: Tensor, top: int, left: int, side: int, scale: int) -> NDArray[np.float64]:
    part = image[: len(VISIBLE), scale * top : scale * (top + side), scale * left : scale * (left + side)]
    return part.double().numpy()
