"""The models that ship with the package, and the building of any model from its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from geosr.errors import ModelError
from geosr.model.card import ModelCard, read_card_file
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import SQUARE_PIXEL_MTF, Sensor, mtf_to_sigma

DEFAULT_MODEL = "rgbn-x4"

_FOLDER = Path(__file__).parent / "zoo"


def names() -> list[str]:
    """Names of the shipped models, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return sorted(found, key=lambda name: name != DEFAULT_MODEL)


def read_card(name: str) -> ModelCard:
    """The card of a shipped model, or of the card file at a path.

    Raises :class:`ModelError`.
    """
    if name.endswith(".json"):
        return read_card_file(Path(name))
    if name not in names():
        raise ModelError(f"no model {name}: there are {', '.join(names())}, or give the path of a model card (.json)")
    return read_card_file(_FOLDER / f"{name}.json")


def build(card: ModelCard, mtf_nyquist: Sequence[float | None]) -> Generator:
    """The model of a card, for bands of these modulation transfers where the card does not fix them.

    Raises :class:`ModelError` when weights are missing or are not those of the card.
    """
    transfers = card.mtf_nyquist or [SQUARE_PIXEL_MTF if mtf is None else mtf for mtf in mtf_nyquist]
    sensor = Sensor([mtf_to_sigma(mtf, card.scale) for mtf in transfers], card.scale)
    return Generator(sensor, network=_load_network(card), base=card.base, steps=card.steps).eval()


def _load_network(card: ModelCard) -> RRDBNet | None:
    if card.network is None:
        return None
    path = card.weights_path
    if card.bands is None or path is None:
        raise ModelError(f"the card of {card.name} describes a network without bands or weights")
    if not path.is_file():
        raise ModelError(f"the weights of {card.name} are missing: {path}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise ModelError(f"the weights of {card.name} are not those of its card: {path} was changed or damaged")
    network = RRDBNet(len(card.bands), len(card.bands), **card.network.model_dump())
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"the weights of {card.name} do not fit its card: {str(error).splitlines()[0]}") from error
    return network
