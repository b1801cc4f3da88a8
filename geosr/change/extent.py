"""Beginning and end of a change.

A pixel is a seed of change where the index differs by more than unchanged ground does. How far the change reaches is
decided by the changed fraction of each pixel: along the edge of a flood, a pixel is part land as before and part water
as in the middle of the flood. An index is no measure of that fraction, as it is not linear in reflectance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: How sure it is that a pixel is changed: not at all, only if every error goes this way, more likely than not, or even
#: if every error goes the other way.
NONE, PERHAPS, LIKELY, SURE = range(4)

#: Half-widths by which a seed differs: 90 % of unchanged pixels differ by less than one, 99.9 % by less than two.
_SEED_HALF_WIDTHS = 2.0

#: Side of the squares over which a fraction is fitted, pixels: a dark road says nothing about water, its sides do.
_FIT_PX = 3

#: Least share of a change's own step that a pixel's ground must differ from it by, to have a fraction.
_LEAST_CONTRAST = 0.2


#: Least half-width of a fraction: blur and sampling differ between dates.
_LEAST_MARGIN = 0.1


@dataclass(frozen=True)
class Difference:
    """Two dates in one window."""

    index: NDArray[np.float32]
    """After minus before, ``(rows, cols)``; NaN where one date has no pixel."""
    half_width: NDArray[np.float32]
    """Half-width of the index's difference where nothing changed."""
    before: NDArray[np.float32]
    """Reflectance of the index's two bands, ``(2, rows, cols)``."""
    after: NDArray[np.float32]
    reflectance_half_width: NDArray[np.float32]
    """Half-width of the difference of reflectance, ``(rows, cols)``."""


def certainty(difference: Difference, least: float, reach_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Judge how sure each pixel's change is, and if it is an increase.

    Parameters
    ----------
    difference
        With ``2 * reach_px`` pixels around the part that is used.
    least
        Smallest difference of the index that counts as change.
    reach_px
        How far the edge of a change is from its inside, pixels.

    Returns
    -------
    tuple of arrays
        ``NONE`` to ``SURE``, ``(rows, cols)``, and True for increases.
    """
    known = np.isfinite(difference.index)
    index = np.where(known, difference.index, 0)
    made = np.zeros(index.shape, np.uint8)
    increase = np.zeros(index.shape, bool)
    for sign in (-1, 1):
        seeds = known & (sign * index > np.maximum(least, _SEED_HALF_WIDTHS * difference.half_width))
        if not seeds.any():
            continue
        near = known & ndimage.maximum_filter(seeds, 2 * reach_px + 1)
        fraction, margin = _changed_fraction(difference, seeds, reach_px)
        for level, needed in ((PERHAPS, 0.5 - margin), (LIKELY, 0.5), (SURE, 0.5 + margin)):
            # A margin of a half would make everything near a change perhaps changed.
            changed = near & (fraction >= np.clip(needed, 0.25, 0.75))
            made[changed] = np.maximum(made[changed], level)
            increase[changed] = sign > 0
    return made, increase


def _changed_fraction(
    difference: Difference, seeds: NDArray[np.bool_], reach_px: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Changed fraction of each pixel near seeds, and its half-width.

    The date that is more uniform over the seeds shows the change itself, as water after a flood or before a drought.
    Its mean over the seeds nearby is what a wholly changed pixel has there. The pixel's own ground on the other date is
    what it has when nothing changed.
    """
    uniform, ground = difference.after, difference.before
    if difference.before[:, seeds].std(axis=1).sum() < difference.after[:, seeds].std(axis=1).sum():
        uniform, ground = ground, uniform
    side = 4 * reach_px + 1
    weight = np.maximum(ndimage.uniform_filter(seeds.astype(np.float32), side), 1e-9)
    whole = np.stack([ndimage.uniform_filter(np.where(seeds, band, 0), side) / weight for band in uniform])
    step, contrast = uniform - ground, whole - ground
    typical = (contrast[:, seeds] ** 2).sum(axis=0).mean()
    along = ndimage.uniform_filter((step * contrast).sum(axis=0), _FIT_PX)
    power = ndimage.uniform_filter((contrast**2).sum(axis=0), _FIT_PX)
    fraction = along / np.maximum(power, _LEAST_CONTRAST**2 * typical)
    margin = difference.reflectance_half_width / np.sqrt(np.maximum(power, _LEAST_CONTRAST**2 * typical))
    return fraction, np.maximum(margin, _LEAST_MARGIN)
