"""Single numbers drawn from a generator of random numbers."""

from __future__ import annotations

import torch


def between(low: float, high: float, rng: torch.Generator) -> float:
    """Draw uniformly from ``low`` to ``high``."""
    return low + (high - low) * float(torch.rand((), generator=rng))


def chance(share: float, rng: torch.Generator) -> bool:
    """Draw true with probability ``share``; at 0 nothing is drawn."""
    return share > 0 and float(torch.rand((), generator=rng)) < share
