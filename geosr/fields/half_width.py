"""Half-width of a field's mean, from those of its pixels and the calibrated correlation of their errors.

Errors of neighbouring pixels are alike, and farther apart they cancel, for the product seen through the sensor is its
source. With weights ``w`` and half-widths ``h`` of the pixels and the correlation ``r`` by distance, the half-width of
a mean is ``sqrt(sum of w_i h_i w_j h_j r_ij) / sum of w``, times a factor. The sum goes over all pairs of pixels, so
the field's size and shape are in it. A small part of the errors is shared by all pixels of a field and does not cancel:
it adds a share of the pixels' mean half-width, in quadrature. Correlation, shared part and factor were measured on
imagery that no model was trained on (:mod:`geosr.release.field_calibration`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.signal import fftconvolve

from geosr.errors import ModelError
from geosr.fields.measures import Measure

#: File of the calibrations of the shipped models.
_FILE = "field_errors.json"

#: Sum of correlated errors is never taken for less than this share of that of independent ones.
_LEAST_SHARE = 0.1


class MeanErrors(BaseModel):
    """Calibration of the half-widths of means for one model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0, lt=1)
    """Share of means whose truth lies within the half-width."""
    correlation: tuple[Annotated[float, Field(ge=-1, le=1)], ...]
    """Correlation of errors at 0, 1, 2, … pixels of the product."""
    shared: float = Field(default=0.0, ge=0, le=1)
    """Part of the errors that all pixels of a field share, of their half-width."""
    factors: dict[str, Annotated[float, Field(gt=0)]]
    """Factors of the measures that were calibrated, by name. Any other measure has the largest."""
    data: dict[str, int] = {}
    """Imagery that it was measured on, with the fields of each."""
    command: str = ""
    """Command that measured it."""

    def half_width_of_mean(
        self, measure: Measure, half_widths: NDArray[np.floating], weights: NDArray[np.floating]
    ) -> float:
        """Half-width of the weighted mean of pixels, in the measure's unit.

        Parameters
        ----------
        measure
            Index or expression.
        half_widths
            Half-widths of its pixels ``(rows, cols)``.
        weights
            Covered and measured share of each pixel, ``(rows, cols)``, 0 outside the field.
        """
        name = measure.name if measure.index or measure.name == measure.expression else ""
        scale = scale_of_mean(half_widths, weights, self.correlation, self.shared)
        return self.factors.get(name, max(self.factors.values())) * scale


def scale_of_mean(
    half_widths: NDArray[np.floating],
    weights: NDArray[np.floating],
    correlation: Sequence[float],
    shared: float = 0.0,
) -> float:
    """Half-width of a mean before the factor, of pixels ``(rows, cols)``.

    Errors of the pixels correlate by distance, and all of them by ``shared ** 2``.
    """
    reach = len(correlation) - 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.interp(np.hypot(y, x), range(reach + 1), correlation, right=0)
    weighted = (half_widths * weights).astype(np.float64)
    independent = float((weighted**2).sum())
    total = float((weighted * fftconvolve(weighted, kernel, mode="same")).sum())
    of_all = shared * float(weighted.sum())
    return float(np.hypot(np.sqrt(max(total, _LEAST_SHARE * independent)), of_all) / weights.sum(dtype=np.float64))


@cache
def errors_of_model(weights_sha256: str) -> MeanErrors | None:
    """Calibration of the model with these weights; None where there is none.

    Raises :class:`ModelError` when the file of calibrations is damaged.
    """
    try:
        content = json.loads((files("geosr") / "data" / _FILE).read_text(encoding="utf-8"))
        found = content.get(weights_sha256)
        return None if found is None else MeanErrors.model_validate(found)
    except (OSError, ValueError, ValidationError) as error:
        raise ModelError(f"the calibrations of fields ({_FILE}) are damaged: install geosr anew") from error
