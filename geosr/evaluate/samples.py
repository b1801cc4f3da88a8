"""Places where a model does best, as usual, and worst against interpolation: what a report shows of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Side of a place, HR pixels; smaller images are shown whole.
_SIDE_PX = 96


@dataclass(frozen=True)
class Sample:
    """One place. All images are reflectance ``(bands, side, side)``, the input with its pixels repeated."""

    what: str
    """``best``, ``typical`` or ``worst``."""
    image: int
    """Which of the set's images it is in."""
    top_px: int
    """Row of its upper left corner, HR pixels."""
    left_px: int
    side_px: int
    error_interpolated: float
    """Root mean square over bands, reflectance."""
    error: float
    truth: Tensor
    observed: Tensor
    interpolated: Tensor
    upscaled: Tensor
    half_width: Tensor | None


def choose(
    truths: Sequence[Tensor],
    inputs: Sequence[Tensor],
    interpolated: Sequence[Tensor],
    upscaled: Sequence[Tensor],
    half_widths: Sequence[Tensor] | None,
) -> list[Sample]:
    """Three places by how much smaller the model's error is: the most, the median, the least.

    All images are reflectance ``(bands, rows, cols)``, of the same bands; all but the inputs alike in shape.
    """
    scale = truths[0].shape[1] // inputs[0].shape[1]
    side = min(_SIDE_PX, *(length for truth in truths for length in truth.shape[1:]))
    plain = [_block_errors(image, truth, side) for image, truth in zip(interpolated, truths, strict=True)]
    ours = [_block_errors(image, truth, side) for image, truth in zip(upscaled, truths, strict=True)]
    places = [(i, row, col) for i, errors in enumerate(ours) for row, col in np.ndindex(*errors.shape)]
    gains = np.array([float(plain[i][row, col] - ours[i][row, col]) for i, row, col in places])
    order = np.argsort(gains, kind="stable")

    def sample(what: str, rank: int) -> Sample:
        i, row, col = places[int(order[rank])]
        top, left = row * side, col * side

        def cut(image: Tensor) -> Tensor:
            return image[:, top : top + side, left : left + side]

        return Sample(
            what=what,
            image=i,
            top_px=top,
            left_px=left,
            side_px=side,
            error_interpolated=float(plain[i][row, col]),
            error=float(ours[i][row, col]),
            truth=cut(truths[i]),
            observed=cut(inputs[i].repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)),
            interpolated=cut(interpolated[i]),
            upscaled=cut(upscaled[i]),
            half_width=None if half_widths is None else cut(half_widths[i]),
        )

    return [sample("best", -1), sample("typical", len(order) // 2), sample("worst", 0)]


def _block_errors(image: Tensor, truth: Tensor, side: int) -> Tensor:
    """Root of the mean square over bands and pixels, by blocks of this side from the upper left corner."""
    squared = (image.double() - truth.double()).square().mean(dim=0)
    return torch.sqrt(F.avg_pool2d(squared[None], side))[0]
