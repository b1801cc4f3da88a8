"""Beginning and end of a change.

A pixel is a seed of change where the index differs by more than unchanged ground does. How far the change reaches is
decided by the changed fraction of each pixel: along the edge of a flood, a pixel is part land as before and part water
as in the middle of the flood. An index is no measure of that fraction, as it is not linear in reflectance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: How sure it is that a pixel is changed: not at all, only if every error goes this way, more likely than not, or even
#: if every error goes the other way.
NONE, PERHAPS, LIKELY, SURE = range(4)

#: Half-widths by which a seed differs: 90 % of unchanged pixels differ by less than one, 99.9 % by less than two.
SEED_HALF_WIDTHS = 2.0

#: Reaches of a change around a pixel that its certainty depends on.
REACHES = 5

#: Side of the squares over which a fraction is fitted, pixels: a dark road says nothing about water, its sides do.
_FIT_PX = 3

#: Least share of a change's own step that a pixel's ground must differ from it by, to have a fraction.
_LEAST_CONTRAST = 0.2

#: Keeps quotients finite, squared reflectance.
_LEAST_POWER = 1e-12

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
    crossed: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """Pixels whose decrease, and pixels whose increase may be change, see :mod:`geosr.change.indices`."""
    stayed: NDArray[np.bool_]
    """Pixels that no change reaches, for they are of one kind on both dates."""


def find_seeds(
    index: NDArray[np.floating],
    half_width: NDArray[np.floating],
    crossed: Sequence[NDArray[np.bool_]],
    least: float,
) -> list[NDArray[np.bool_]]:
    """Pixels that have surely changed: of decreases, and of increases. NaN is no change."""
    needed = np.maximum(least, SEED_HALF_WIDTHS * half_width)
    return [(sign * index > needed) & where for sign, where in zip((-1, 1), crossed, strict=True)]


def certainty(
    difference: Difference, least: float, reach_px: int, shown_later: tuple[bool, bool] = (True, True)
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Judge how sure each pixel's change is, and if it is an increase.

    Parameters
    ----------
    difference
        With ``REACHES * reach_px`` pixels around the part that is used.
    least
        Smallest difference of the index that counts as change.
    reach_px
        How far the edge of a change is from its inside, pixels.
    shown_later
        For decreases and for increases, True where the later date shows the change itself and the earlier one the
        ground, as with a flood; False where it is the other way round, as with a pond that has dried.

    Returns
    -------
    tuple of arrays
        ``NONE`` to ``SURE``, ``(rows, cols)``, and True for increases.
    """
    known = np.isfinite(difference.index)
    made = np.zeros(known.shape, np.uint8)
    increase = np.zeros(known.shape, bool)
    most = np.zeros(known.shape, np.float32)
    both = find_seeds(difference.index, difference.half_width, difference.crossed, least)
    for is_increase, (seeds, later) in enumerate(zip(both, shown_later, strict=True)):
        if not seeds.any():
            continue
        near = known & ~difference.stayed & ndimage.maximum_filter(seeds, 2 * reach_px + 1)
        dates = (difference.after, difference.before) if later else (difference.before, difference.after)
        fraction, contrast = _changed_fraction(*dates, seeds, reach_px)
        margin = np.maximum(difference.reflectance_half_width / contrast, _LEAST_MARGIN)
        # The fraction has no sign: a pixel is of the kind that has more seeds around it.
        density = ndimage.uniform_filter(seeds.astype(np.float32), _side(reach_px))
        levels = np.zeros(known.shape, np.uint8)
        for level, needed in ((PERHAPS, 0.5 - margin), (LIKELY, 0.5), (SURE, 0.5 + margin)):
            # A margin of a half would make everything near a change perhaps changed.
            levels[near & (fraction >= np.clip(needed, 0.25, 0.75))] = level
        chosen = (levels > NONE) & (density > most)
        made[chosen], increase[chosen], most[chosen] = levels[chosen], bool(is_increase), density[chosen]
    return made, increase


def _side(reach_px: int) -> int:
    """Side of the squares that seeds are gathered in, pixels."""
    return 4 * reach_px + 1


def _changed_fraction(
    shown: NDArray[np.float32], ground: NDArray[np.float32], seeds: NDArray[np.bool_], reach_px: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Changed fraction of each pixel near seeds, and the reflectance between unchanged and changed there.

    The mean of the date that shows the change, over the seeds nearby, is what a wholly changed pixel has. The pixel's
    own ground on the other date is what it has when nothing changed.
    """
    side = _side(reach_px)
    weight = np.maximum(ndimage.uniform_filter(seeds.astype(np.float32), side), 1e-9)

    def over_seeds(image: NDArray[np.floating]) -> NDArray[np.floating]:
        mean: NDArray[np.floating] = ndimage.uniform_filter(np.where(seeds, image, 0), side) / weight
        return mean

    step, contrast = shown - ground, np.stack([over_seeds(band) for band in shown]) - ground
    typical = over_seeds((contrast**2).sum(axis=0))
    along = ndimage.uniform_filter((step * contrast).sum(axis=0), _FIT_PX)
    power = np.maximum(ndimage.uniform_filter((contrast**2).sum(axis=0), _FIT_PX), _LEAST_CONTRAST**2 * typical)
    # Away from all seeds there is none, and nothing is near a change.
    power = np.maximum(power, _LEAST_POWER)
    return along / power, np.sqrt(power)
