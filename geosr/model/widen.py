"""An RGB network made into one for other bands: first and last convolution widened, its colours kept.

What the published network makes of red, green and blue, the widened one makes of the same bands, exactly:

- The rows and columns of the colours are put where the bands are that have these colours.
- A further band enters with zero weight: it changes nothing until training says what it is good for.
- A further band leaves as the mean of the three colours. It is no radiometry, but detail at the right places, as
  pan-sharpening injects it; back-projection through the sensor gives each band its own level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

#: The order in which such networks are published.
COLOURS = ("red", "green", "blue")


def widen(weights: Mapping[str, Tensor], bands: int, colours: Sequence[int]) -> dict[str, Tensor]:
    """The weights for so many bands, of which ``colours`` are the positions of red, green and blue.

    ``weights`` are those of a network from and to red, green and blue, by our names; their type is kept.
    """
    first, last, bias = (weights[name] for name in ("conv_first.weight", "conv_last.weight", "conv_last.bias"))
    if first.shape[1] != len(COLOURS) or len(last) != len(COLOURS):
        raise ValueError(f"the network is from {first.shape[1]} bands to {len(last)}, not from and to {len(COLOURS)}")
    if len(set(colours)) != len(COLOURS) or not all(0 <= place < bands for place in colours):
        raise ValueError(f"{list(colours)} are not three places among {bands}")
    entering = first.new_zeros(first.shape[0], bands, *first.shape[2:])
    leaving = _mean(last).expand(bands, *last.shape[1:]).clone()
    added = _mean(bias).expand(bands).clone()
    for colour, place in enumerate(colours):
        entering[:, place] = first[:, colour]
        leaving[place] = last[colour]
        added[place] = bias[colour]
    return {
        **weights,
        "conv_first.weight": entering,
        "conv_last.weight": leaving,
        "conv_last.bias": added,
    }


def _mean(rows: Tensor) -> Tensor:
    return rows.to(torch.float32).mean(dim=0, keepdim=True).to(rows.dtype)
