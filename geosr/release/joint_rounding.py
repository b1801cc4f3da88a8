"""A layer's weights rounded together, so that its sums are off by least."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosr.model.bfloat16 import nearest, other

#: What is added to the moments, as a share of their mean, so that what few images never showed is not relied on.
_DAMPING = 0.03

#: How often all weights are looked at again, at most.
_SWEEPS = 8


def farther(weight: Tensor, moments: Tensor) -> NDArray[np.bool_]:
    """Which weights ``(out, in)`` become the farther of their neighbours in bfloat16.

    ``moments`` are the mean products of what the layer multiplies, ``(in, in)``. First each weight in turn is rounded
    such that those that follow can make up for it best (Frantar et al., "GPTQ", 2022, section 3); then each is changed
    to its other neighbour for as long as that is better, given all others.
    """
    exact = weight.double()
    choices = torch.stack([torch.from_numpy(f(weight.numpy())).double() - exact for f in (nearest, other)])
    damped = moments + _DAMPING * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    return _refined(choices, moments, _in_turn(choices, damped)).numpy()


def _in_turn(choices: Tensor, moments: Tensor) -> Tensor:
    """Which of the two ``choices`` of error, ``(2, out, in)``, are taken; those of the largest inputs come first."""
    order = moments.diagonal().argsort(descending=True)
    slopes = torch.linalg.cholesky(torch.linalg.inv(moments[order][:, order]), upper=True)
    choices = choices[..., order]
    # How far each weight is to be moved to make up for those that were rounded before it.
    wanted = torch.zeros_like(choices[0])
    taken = torch.zeros_like(wanted, dtype=torch.bool)
    for i in range(len(order)):
        off = choices[:, :, i] - wanted[:, i]
        taken[:, i] = off[1].abs() < off[0].abs()
        error = torch.where(taken[:, i], off[1], off[0]) / slopes[i, i]
        wanted[:, i + 1 :] += error[:, None] * slopes[i, i + 1 :]
    return taken[:, order.argsort()]


def _refined(choices: Tensor, moments: Tensor, taken: Tensor) -> Tensor:
    errors = torch.where(taken, choices[1], choices[0])
    products = errors @ moments
    for _ in range(_SWEEPS):
        changed = False
        for i in range(len(moments)):
            step = torch.where(taken[:, i], choices[0, :, i], choices[1, :, i]) - errors[:, i]
            better = step * (2 * products[:, i] + step * moments[i, i]) < 0
            step = step * better
            errors[:, i] += step
            products += step[:, None] * moments[i]
            taken[:, i] ^= better
            changed |= bool(better.any())
        if not changed:
            break
    return taken
