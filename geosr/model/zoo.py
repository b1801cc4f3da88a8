"""The models that ship with the package, and how a model is chosen. Reading their cards needs no network library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from geosr.errors import ModelError
from geosr.model.card import ModelCard, read_card_file

DEFAULT_MODEL = "rgbn-x4"

_FOLDER = Path(__file__).parent / "zoo"


@dataclass(frozen=True)
class ModelRef:
    """Choice of a model: its name and the share of its visual weights. Its card is read once, when first asked for."""

    name: str = DEFAULT_MODEL
    """Name of a shipped model or path of a card (``.json``)."""
    sharpness: float = 0.0
    """Share of the model's visual weights, 0 to 1; above 0 its images are to look at."""

    @cached_property
    def card(self) -> ModelCard:
        """Card of the model, its weights mixed. Raises as :func:`read_card`."""
        return read_card(self.name, self.sharpness)

    @property
    def shipped(self) -> bool:
        """True for a model of the package, False for a user's card."""
        return self.name in names()

    # Other processes read the card themselves: it is many times larger than a task.
    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "sharpness": self.sharpness}


def names() -> list[str]:
    """Names of the shipped models, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return sorted(found, key=lambda name: name != DEFAULT_MODEL)


def shipped_cards() -> list[ModelCard]:
    """Cards of the shipped models, the default first."""
    return [read_card(name) for name in names()]


def read_card(name: str, sharpness: float = 0.0) -> ModelCard:
    """Read the card of a shipped model, or the card file at a path, its weights mixed to a ``sharpness`` from 0 to 1.

    Called where a model is chosen; everything after that has its :class:`ModelRef` or its card.

    Raises :class:`ModelError`, and :class:`geosr.errors.UsageError` for a sharpness that it does not have.
    """
    if name.endswith(".json"):
        return read_card_file(Path(name)).sharpened(sharpness)
    if name not in names():
        raise ModelError(f"no model {name}: there are {', '.join(names())}, or give the path of a model card (.json)")
    return read_card_file(_FOLDER / f"{name}.json").sharpened(sharpness)
