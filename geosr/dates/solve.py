"""The correction of an image that several dates ask for: weighted least squares, held to the image it starts from.

Minimises ``sum_k |observe_k(x) - lr_k|^2_{w_k} + |x - x0|^2`` over images ``x``. Its solution is ``x0`` plus what
source-resolution values ``y_k`` spread into, with ``(G + 1 / w) y = lr - observe(x0)`` and ``G`` the overlap of the
dates' pixels (Tarantola, "Inverse problem theory", 2005, section 3.2). A fixed number of Chebyshev steps with fixed
bounds (Saad, "Iterative methods for sparse linear systems", 2003, algorithm 12.1) solves it, so that a pixel's result
does not depend on the window that it is computed in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Steps; more change the result by less than they fit noise.
STEPS = 8


def solve(residual: Tensor, weights: Tensor, gram: Tensor, bands: int, most: float) -> Tensor:
    """Values ``y`` to be spread, shaped as ``residual``: 0 exactly wherever the weight is.

    ``residual`` and ``weights`` are ``(1, bands * dates, rows, cols)``, the channels in the order of bands, then dates;
    ``gram`` as of :func:`geosr.dates.sampling.gram_kernel`; no weight is above ``most``.
    """
    # Of rows that sum to one all eigenvalues are at most 1; a source pixel is one of scale * scale fine ones.
    low = 1 / (1 + most * float(gram.sum(dim=(1, 2, 3)).max()))
    # Bands do not depend on each other, and one at a time takes less memory.
    parts = zip(residual.chunk(bands, dim=1), weights.chunk(bands, dim=1), gram.chunk(bands), strict=True)
    return torch.cat([_solve_band(*part, low) for part in parts], dim=1)


def _solve_band(residual: Tensor, weights: Tensor, gram: Tensor, low: float) -> Tensor:
    pad = gram.shape[-1] // 2

    def overlap(values: Tensor) -> Tensor:
        return F.conv2d(values, gram, padding=pad)

    diagonal = 1 + overlap(weights)
    theta, delta = (1 + low) / 2, (1 - low) / 2
    left = residual / diagonal
    step = left / theta
    found = torch.zeros_like(residual)
    rho = delta / theta
    for _ in range(STEPS - 1):
        found = found + step
        left = left - (step + overlap(weights * step)) / diagonal
        following = 1 / (2 * theta / delta - rho)
        step = following * rho * step + 2 * following / delta * left
        rho = following
    return weights * (found + step)
