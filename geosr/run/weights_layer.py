"""Output layer written with ``--date-weights``: the weight of each further date at each pixel.

See :mod:`geosr.dates.weights`. One band for each date that was given beside the reference, 0 where it takes no part and
everywhere for one that is not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geosr.run.uncertainty_layers import WEIGHTS, OutputLayer, layer_path
from tiling import Location, Product

#: Weight of a step of what is stored, and the number that stands for nodata.
_STEP, _NODATA = 0.01, 65535

_MEANING = "weight of a further date at a pixel of the source, 0 where it takes no part"


def weights_layer(output: Location, product: Product, labels: Sequence[str]) -> OutputLayer:
    """The raster that goes beside ``output``, for further dates of these labels."""
    path = layer_path(output, WEIGHTS)
    form = Product(
        dtype="uint16",
        descriptions=tuple(labels),
        nodata=float(_NODATA),
        scales=(_STEP,) * len(labels),
        offsets=(0.0,) * len(labels),
        compression=product.compression,
        tags={"GEOSR_DATE_WEIGHTS": _MEANING},
    )
    described = [
        {"name": label, "description": f"weight of {label}", "raster:scale": _STEP, "raster:offset": 0}
        for label in labels
    ]
    return OutputLayer.of(WEIGHTS, path, form, "Weights of further dates", _MEANING, described)


def stored_weights(
    weights: NDArray[np.float32] | None, used: Sequence[int], count: int, valid: NDArray[np.bool_], scale: int
) -> NDArray[np.uint16]:
    """Weights of a chunk as they are stored, ``(count, scale rows, scale cols)``.

    ``weights`` are of the dates with the numbers ``used``, ``(dates, rows, cols)``, None where none was measured;
    ``valid`` is what the reference measured, ``(bands, rows, cols)``.
    """
    stored = np.zeros((count, *valid.shape[1:]), dtype=np.uint16)
    if weights is not None:
        stored[list(used)] = np.rint(weights / _STEP).clip(0, _NODATA - 1)
    stored[:, ~valid.any(axis=0)] = _NODATA
    return stored.repeat(scale, axis=1).repeat(scale, axis=2)
