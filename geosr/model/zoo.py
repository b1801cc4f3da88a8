"""The models that ship with the package. Reading their cards needs no network library."""

from __future__ import annotations

from pathlib import Path

from geosr.errors import ModelError
from geosr.model.card import ModelCard, read_card_file

DEFAULT_MODEL = "rgbn-x4"

_FOLDER = Path(__file__).parent / "zoo"


def names() -> list[str]:
    """Names of the shipped models, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return sorted(found, key=lambda name: name != DEFAULT_MODEL)


def read_card(name: str, sharpness: float = 0.0) -> ModelCard:
    """The card of a shipped model, or of the card file at a path, its weights mixed to a ``sharpness`` from 0 to 1.

    Raises :class:`ModelError`, and :class:`geosr.errors.UsageError` for a sharpness that it does not have.
    """
    if name.endswith(".json"):
        return read_card_file(Path(name)).sharpened(sharpness)
    if name not in names():
        raise ModelError(f"no model {name}: there are {', '.join(names())}, or give the path of a model card (.json)")
    return read_card_file(_FOLDER / f"{name}.json").sharpened(sharpness)
