"""Output for one window: its image, its consistency, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosr.model.card import Calibration

#: Measured fraction of a place where no band was measured.
NOTHING_MEASURED = 255


@dataclass(frozen=True)
class SceneUncertainty:
    """Calibration of a model's half-widths for one scene. Whoever has one asks for uncertainty."""

    calibration: Calibration
    """The model's own."""
    width_factors: tuple[float, ...] = ()
    """Factors on the scene's half-widths, one for each band of the model, see
    :mod:`geosr.inference.scene_calibration`; empty for none."""


@dataclass(frozen=True)
class WindowConsistency:
    """Difference between the source and the result seen through the sensor: sums over measured LR pixels."""

    count: tuple[int, ...]
    """Pixels, per band."""
    absolute_dn: tuple[float, ...]
    """Sum of the absolute differences, DN, per band."""


@dataclass(frozen=True)
class Uncertainty:
    """Half-widths and measured fraction of an image."""

    half_width_dn: NDArray[np.float32]
    """Half-width of each pixel's calibrated interval, DN, shaped as the image; NaN where that is nodata."""
    measured_fraction: NDArray[np.uint8]
    """Percentage of the local detail that is measured, ``(1, rows, cols)``; 255 where no band was measured."""


@dataclass(frozen=True)
class WindowReport:
    """Statistics of one upscaled window."""

    consistency: WindowConsistency
    uncertainty: Uncertainty | None = None
    """None when it was not asked for."""
    note: str | None = None
    """Warning for the user about how it was computed."""


@dataclass(frozen=True)
class UpscaledWindow(WindowReport):
    """Image of one window with its statistics."""

    image: NDArray[Any] = field(kw_only=True)
    """DN, ``(bands, rows, cols)``."""
