"""Half-widths of a scene that is harder, or easier, than the imagery they were calibrated on.

A few squares of the scene are made from themselves, seen four times coarser (:mod:`geosr.model.scene_calibration`).
How their errors compare with their half-widths gives each band one factor for the whole scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geosr.inference.upscaled_window import SceneUncertainty
from geosr.inference.upscaler import Upscaler
from geosr.model.card import Calibration

#: Sides of the squares, LR pixels: what a scene needs at least, and what is taken where there is more.
_SIDES_PX = (32, 192)

#: There is a square for each block of this side, LR pixels, up to so many along a side of the scene.
_SPACING_PX = 640
_MOST_ALONG_A_SIDE = 4

#: A scene's factor is 1 when there are fewer measured pixels than this in its squares.
_LEAST_PIXELS = 1000

#: And never beyond these.
_BOUNDS = (0.5, 2.0)


def calibrate_area(
    area: Window,
    read: Callable[[Window], tuple[NDArray[Any], NDArray[np.bool_]]],
    upscaler: Upscaler,
    calibration: Calibration,
) -> SceneUncertainty:
    """Calibrate the half-widths of an area by what its own squares say; ``read`` gives DN and validity of a window."""
    squares = calibration_windows(area, upscaler.scale, calibration)
    return calibrate(map(read, squares), upscaler, calibration)


def calibrate(
    parts: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]], upscaler: Upscaler, calibration: Calibration
) -> SceneUncertainty:
    """Calibrate a scene's half-widths by DN and validity of its squares; without any, they stay the model's."""
    ratios = [upscaler.calibration_ratios(pixels, valid) for pixels, valid in parts]
    bands = [np.concatenate(band) for band in zip(*ratios, strict=True)]
    return SceneUncertainty(calibration, scene_factors(bands, calibration.level, calibration.scene_exponent))


def calibration_windows(area: Window, scale: int, calibration: Calibration) -> list[Window]:
    """Squares on which an area is calibrated, spread over it, few enough to cost little.

    None when the calibration makes nothing of it, or the area is too small to be seen ``scale`` times coarser.
    """
    smallest, side = _SIDES_PX
    rows, cols = area.height, area.width
    if not calibration.scene_exponent or min(rows, cols) < smallest:
        return []
    height, width = (min(side, length) // scale * scale for length in (rows, cols))
    down, across = (min(_MOST_ALONG_A_SIDE, math.ceil(length / _SPACING_PX)) for length in (rows, cols))
    return [
        Window(
            area.col_off + int((j + 0.5) * cols / across - width / 2),
            area.row_off + int((i + 0.5) * rows / down - height / 2),
            width,
            height,
        )
        for i in range(down)
        for j in range(across)
    ]


def scene_factors(ratios: Sequence[NDArray[np.float32]], level: float, exponent: float) -> tuple[float, ...]:
    """Factors on the half-widths of a scene, one for each band's ratios.

    The quantile of the ratios is 1 for a scene like those of the calibration; ``exponent`` says how much of what it
    says about the coarser scale is believed of the finer.
    """
    # A number far out of range, nodata that nobody declared, leaves no ratio: it must not become the scene's.
    finite = [one[np.isfinite(one)] for one in ratios]
    return tuple(
        1.0 if len(one) < _LEAST_PIXELS else float(np.clip(np.quantile(one, level) ** exponent, *_BOUNDS))
        for one in finite
    )
