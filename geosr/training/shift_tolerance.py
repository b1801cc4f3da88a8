"""A loss for pairs of sensors whose co-registration is not perfect: the smallest over small shifts of the truth.

A network cannot know by how much a truth is off, and a loss that insists on the pixel teaches it to blur. The search
follows Deudon et al., "HighRes-net" (2020), section 3.4, and Märtens et al. (2019), in whole HR pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from geosr.training.losses import Loss


def tolerant(loss: Loss, sr: Tensor, hr: Tensor, gain: Tensor, slack_hr_px: Sequence[int]) -> Tensor:
    """The loss of a batch ``(n, bands, rows, cols)`` whose patches may each be off by ``slack_hr_px`` HR pixels.

    Patches without slack are judged together, as ``loss`` does. Of each other one the middle of ``sr`` is compared
    with every part of ``hr`` that lies up to its slack away along either axis, and the smallest loss counts: its
    slope is that at the chosen shift. All patches weigh alike.
    """
    exact = [i for i, slack in enumerate(slack_hr_px) if slack == 0]
    if len(exact) == len(slack_hr_px):
        return loss(sr, hr, gain)
    total = sr.new_zeros(())
    if exact:
        total = len(exact) * loss(sr[exact], hr[exact], gain[exact])
    for i, slack in enumerate(slack_hr_px):
        if slack:
            total = total + _least(loss, sr[i : i + 1], hr[i : i + 1], gain[i : i + 1], slack)
    return total / len(slack_hr_px)


def _least(loss: Loss, sr: Tensor, hr: Tensor, gain: Tensor, slack: int) -> Tensor:
    """The loss of one patch at the shift where it is smallest; the first of equal ones, in the order of the offsets."""
    rows, cols = (length - 2 * slack for length in hr.shape[-2:])
    middle = sr[..., slack : slack + rows, slack : slack + cols]
    # What is nearest to no shift comes first: where shifts are equal, as on flat ground, there is none.
    offsets = sorted(product(range(2 * slack + 1), repeat=2), key=lambda at: sum(abs(one - slack) for one in at))
    with torch.no_grad():
        losses = [float(loss(middle, hr[..., y : y + rows, x : x + cols], gain)) for y, x in offsets]
    y, x = offsets[losses.index(min(losses))]
    return loss(middle, hr[..., y : y + rows, x : x + cols], gain)
