"""The weights of a card: found, and held against its digest. Whoever runs them loads them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from geosr.errors import ModelError
from geosr.model.card import ModelCard


def find_weights(card: ModelCard) -> Path:
    """The file of a network's weights.

    Raises :class:`ModelError` when it is missing or not that of the card.
    """
    path = card.weights_path
    assert path is not None, "a card with a network names its weights"
    if not path.is_file():
        raise ModelError(f"the weights of {card.name} are missing: {path}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise ModelError(f"the weights of {card.name} are not those of its card: {path} was changed or damaged")
    return path


def read_weights(card: ModelCard) -> dict[str, NDArray[np.float32]]:
    """The weights by name, in float32.

    Raises :class:`ModelError` as above, or when they cannot be read.
    """
    try:
        weights: dict[str, NDArray[Any]] = load_file(find_weights(card))
    except (SafetensorError, TypeError) as error:
        raise misfit(card, error) from error
    return {name: values.astype(np.float32) for name, values in weights.items()}


def misfit(card: ModelCard, error: Exception) -> ModelError:
    """What to raise when weights are not those of a network of the card's size."""
    return ModelError(f"the weights of {card.name} do not fit its card: {str(error).splitlines()[0]}")
