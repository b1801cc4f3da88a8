"""The weights of a card: found, held against its digest, and mixed to its sharpness. Whoever runs them loads them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from geosr.errors import ModelError
from geosr.model.bfloat16 import Rounded, channels_of, nearest, other
from geosr.model.card import ModelCard, NetworkSize
from geosr.model.kernels import RESIDUAL_SCALE


def find_weights(card: ModelCard) -> Path:
    """The file of a network's weights.

    Raises :class:`ModelError` when it is missing or not that of the card.
    """
    path = card.weights_path
    assert path is not None, "a card with a network names its weights"
    return _checked(card, path, card.weights_sha256)


def find_visual_weights(card: ModelCard) -> Path:
    """The file of the weights that a sharpness above 0 mixes in. Raises :class:`ModelError` as above."""
    assert card.visual is not None, "only a card with visual weights is sharpened"
    return _checked(card, card.folder / card.visual.weights, card.visual.weights_sha256)


def find_rounding(card: ModelCard) -> Path:
    """The file of what weights become in bfloat16. Raises :class:`ModelError` as above."""
    assert card.bfloat16 is not None, "only a card that says so has weights rounded together"
    return _checked(card, card.folder / card.bfloat16.weights, card.bfloat16.weights_sha256)


def read_weights(card: ModelCard) -> dict[str, NDArray[np.float32]]:
    """The weights by name, in float32, mixed where the card has a sharpness: see :meth:`ModelCard.sharpened`.

    Raises :class:`ModelError` as above, or when they cannot be read.
    """
    assert card.network is not None, "only a network has weights"
    weights = _read(card, find_weights(card))
    if not card.sharpness:
        return weights
    visual, share = _read(card, find_visual_weights(card)), np.float32(card.sharpness)
    for name, values in visual.items():
        if name not in weights or weights[name].shape != values.shape:
            raise misfit(card, f"{name} of the visual weights is not that of a layer")
        weights[name] = (1 - share) * weights[name] + share * values
    return weights


def read_rounded(card: ModelCard, weights: Mapping[str, NDArray[np.float32]]) -> Rounded:
    """The dense blocks of a network of these ``weights`` in bfloat16.

    Weights that are mixed are each rounded by themselves, for what their sums are off by is not known of a mixture.
    Raises :class:`ModelError` as above.
    """
    size, own = card.network, card.bfloat16
    assert size is not None, "only a network has weights"
    farther = {} if own is None or card.sharpness else _read_farther(card, size)
    found = {}
    for name, exact in weights.items():
        if not name.startswith("body."):
            continue
        values = exact * np.float32(RESIDUAL_SCALE) if ".conv5." in name else exact
        if name.endswith(".weight"):
            near = nearest(values)
            values = np.where(farther[name], other(values), near) if name in farther else near
        found[name] = values
    split = ["0" * (size.features + 4 * size.growth)] * 3 * size.blocks if own is None else own.split
    return Rounded(found, channels_of(split, size.features, size.growth))


def _read_farther(card: ModelCard, size: NetworkSize) -> dict[str, NDArray[np.bool_]]:
    """By layer, which weights become the farther of their neighbours."""
    path = find_rounding(card)
    shapes = {name: shape for name, shape in _shapes(size, 0).items() if name.startswith("body.")}
    try:
        packed = load_file(path)
        return {
            name: np.unpackbits(packed[name], count=math.prod(shape)).reshape(shape).astype(bool)
            for name, shape in shapes.items()
        }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise misfit(card, error) from error


def _checked(card: ModelCard, path: Path, sha256: str | None) -> Path:
    if not path.is_file():
        raise ModelError(f"the weights of {card.name} are missing: {path}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ModelError(f"the weights of {card.name} are not those of its card: {path} was changed or damaged")
    return path


def _read(card: ModelCard, path: Path) -> dict[str, NDArray[np.float32]]:
    assert card.network is not None, "only a network has weights"
    try:
        weights: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise misfit(card, error) from error
    for name, shape in _shapes(card.network, len(card.bands or ())).items():
        if name not in weights or weights[name].shape != shape:
            raise misfit(card, f"{name} is not {shape}")
    for name, values in weights.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values.astype(np.float32)).all():
            raise misfit(card, f"{name} holds what is no finite number")
    check_informative(card, weights)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def check_informative(card: ModelCard, weights: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse a network through which nothing passes: its first or last layer is constant, whatever lies between.

    Back-projection and the base would hide it. Raises :class:`ModelError`.
    """
    for layer in ("conv_first", "conv_last"):
        values = np.asarray(weights[f"{prefix}{layer}.weight"])
        if values.size > 1 and values.min() == values.max():
            raise ModelError(
                f"the weights of {card.name} are not those of a trained network: all of {prefix}{layer} are "
                f"{values.flat[0]:g}, so that its images are constant"
            )


def misfit(card: ModelCard, reason: Exception | str) -> ModelError:
    """Error for weights that are not those of a network of the card's size."""
    return ModelError(
        f"the weights of {card.name} do not fit its card: {next(iter(str(reason).splitlines()), type(reason).__name__)}"
    )


def _shapes(size: NetworkSize, bands: int) -> dict[str, tuple[int, ...]]:
    """The weights that an image takes, by name, but for biases."""
    features, growth, names = size.features, size.growth, {}
    names["conv_first"] = (features, bands)
    for block in range(size.blocks):
        for dense in (1, 2, 3):
            for number in range(1, 6):
                out = growth if number < 5 else features
                names[f"body.{block}.rdb{dense}.conv{number}"] = (out, features + (number - 1) * growth)
    names["conv_body"] = (features, features)
    if size.tail == "interpolate":
        names |= dict.fromkeys(("conv_up1", "conv_up2", "conv_hr"), (features, features))
    per_band = (16 if size.tail == "shuffle" else 1) + (1 if size.estimates_noise else 0)
    names["conv_last"] = (bands * per_band, features)
    return {f"{name}.weight": (*channels, 3, 3) for name, channels in names.items()}
