"""Places of patches that hold nothing but measured pixels.

Pixels without measurement are NaN in every band; imagery without any takes no account of this module's chance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geosr.errors import TrainingError

#: Of the places for a patch, the share that has to be measured: places are drawn until one is.
_LEAST_SHARE = 0.01


def measured_part(name: str, image: Tensor, side: int) -> Tensor | None:
    """Which pixels ``(rows, cols)`` of ``(bands, rows, cols)`` were measured; None where all were.

    Raises :class:`TrainingError`, with the image's name, where hardly any square of this side is all measured.
    """
    measured = image.isfinite().all(dim=0)
    if bool(measured.all()):
        return None
    if _share_of_places(measured, side) < _LEAST_SHARE:
        raise TrainingError(
            f"{name} holds hardly any place where all of a patch's {side} × {side} pixels were measured: leave it out "
            "(exclude), or make patches smaller"
        )
    return measured


def draw_place(size: tuple[int, int], side: int, measured: Tensor | None, rng: torch.Generator) -> tuple[int, int]:
    """First row and column of a square of this side in which all is measured, by chance."""
    while True:
        y, x = (int(float(torch.rand((), generator=rng)) * (length - side + 1)) for length in size)
        if measured is None or bool(measured[y : y + side, x : x + side].all()):
            return y, x


def _share_of_places(measured: Tensor, side: int) -> float:
    if min(measured.shape) < side:
        return 0.0
    sums = F.pad((~measured).long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    missing = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return float((missing == 0).float().mean())
