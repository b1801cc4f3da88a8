"""Outcome of one trial of ``scripts/soak.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """A thing that was tried, and what was wrong with what came of it."""

    kind: str
    """Name of what was tried."""
    fault: str = ""
    """Fault; empty if the trial was survived."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Measured numbers, by a name with its unit."""
