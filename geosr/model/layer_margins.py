"""Margin of a chunk that each part of a network still needs.

Each 3×3 layer sees one pixel further than those after it. What the rest of the network does not look at in effect is
given up on the way, and no longer computed. Imports nothing: every engine asks here.
"""

from __future__ import annotations

import math
from typing import Any

#: What the sensor's constraint and the half-widths look at around the inside of a chunk, LR pixels.
_KEPT_PX = 8

#: How far a layer looks in effect, LR pixels. Of a pixel at the rim of what all the layers could see next to nothing
#: arrives; ``geosr/evaluate/chunk_margin.py`` measures that no more is missed than by the margin as a whole.
_REACH_PX = 0.56

_LAYERS_PER_DENSE_BLOCK = 5

#: The body's last layer and the one that makes polyphase.
_LAYERS_AFTER = 2


def margins(blocks: int, halo_px: int) -> list[int]:
    """Margins of the input of each of the ``3 * blocks`` dense blocks, and of all that follows; LR pixels."""
    layers = [_LAYERS_PER_DENSE_BLOCK * left + _LAYERS_AFTER for left in range(3 * blocks, -1, -1)]
    return [min(halo_px, math.ceil(_KEPT_PX + _REACH_PX * count)) for count in layers]


def kept_margin(halo_px: int) -> int:
    """The margin of what a network makes of a chunk with a margin of ``halo_px``."""
    return margins(0, halo_px)[-1]


def crop(image: Any, margin: int) -> Any:
    """A tensor or an array without ``margin`` pixels on each side."""
    return image if margin == 0 else image[..., margin:-margin, margin:-margin]
