"""Answers to made inputs: an ideal edge, sharper or softer than assumed, and one pixel as bright as a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from geosr.evaluate.contenders import SCALE
from geosr.evaluate.real.subject import Subject
from geosr.model.kernels import mtf_to_sigma

#: Factors of the nominal blur at which edges are judged.
BLUR_FACTORS = (0.8, 0.9, 1.0, 1.1, 1.2)

#: Reflectance on both sides of the edge.
DARK, BRIGHT = 0.06, 0.12

#: Side of the image of an edge, source pixels, and the edge's slope against the columns: it passes all subpixel
#: positions.
_SIDE_PX, _SLOPE = 48, 0.13

#: Source pixels left out at the edges.
_BORDER_PX = 8

#: Reflectance of the bright pixel, and the distance beyond which it should move nothing, source pixels.
_BRIGHT_PIXEL, _REACH_PX = 1.2, 10


def edge(sigma_px: Sequence[float], side_px: int = _SIDE_PX) -> Tensor:
    """A straight, slanted edge as a sensor of these blurs samples it, reflectance ``(bands, side, side)``."""
    rows, cols = np.mgrid[:side_px, :side_px] + 0.5
    distance = ((cols - side_px / 2) - _SLOPE * (rows - side_px / 2)) / np.hypot(1, _SLOPE)
    bands = [DARK + (BRIGHT - DARK) * ndtr(distance / sigma) for sigma in sigma_px]
    return torch.from_numpy(np.stack(bands).astype(np.float32))


def overshoot(subject: Subject, bands: Sequence[str], blur_factor: float) -> float:
    """The farthest that an edge's sides leave their reflectance, as a share of the step; the largest of the bands.

    The edge is blurred with ``blur_factor`` times the blur that the subject assumes, without noise.
    """
    sigmas = [blur_factor * mtf_to_sigma(subject.transfers[one], 1) for one in subject.common(bands)]
    made = subject(edge(sigmas), subject.common(bands))
    margin = SCALE * _BORDER_PX
    inside = made[:, margin:-margin, margin:-margin]
    return max(float(inside.max()) - BRIGHT, DARK - float(inside.min())) / (BRIGHT - DARK)


def reach_of_bright_pixel(subject: Subject, scene: Tensor, bands: Sequence[str], places: int = 3) -> float:
    """The largest change, DN, farther than ten pixels from a source pixel that is set to 12,000 DN in all bands.

    ``scene`` is reflectance ``(bands, rows, cols)``; places lie on its diagonal.
    """
    worst, half = 0.0, 24
    for i in range(places):
        row, col = ((i + 1) * side // (places + 1) for side in scene.shape[1:])
        part = scene[:, max(row - half, 0) : row + half + 1, max(col - half, 0) : col + half + 1].clone()
        y, x = min(row, half), min(col, half)
        before = subject(part, bands)
        part[:, y, x] = _BRIGHT_PIXEL
        change = (subject(part, bands) - before).abs()
        rows, cols = np.indices(part.shape[1:])
        far = np.maximum(abs(rows - y), abs(cols - x)) > _REACH_PX
        worst = max(worst, float(change[:, torch.from_numpy(far.repeat(SCALE, 0).repeat(SCALE, 1))].max()))
    return worst * 1e4
