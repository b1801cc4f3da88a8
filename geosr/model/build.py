"""From a model card to a generator that runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from safetensors import SafetensorError
from safetensors.torch import load_file

from geosr.errors import ModelError
from geosr.model.card import ModelCard
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import SQUARE_PIXEL_MTF, Sensor, mtf_to_sigma


def build(card: ModelCard, mtf_nyquist: Sequence[float | None], *, picture: bool = False) -> Generator:
    """The model of a card, for bands of these modulation transfers where the card does not fix them.

    A ``picture`` comes from an unknown camera: the back-projection then assumes square pixels and no other blur. With
    Sentinel-2's, images that are as sharp as that would come out worse than interpolated.

    Raises :class:`ModelError` when weights are missing or are not those of the card.
    """
    if picture:
        mtf_nyquist = [None] * len(card.bands or mtf_nyquist)
    if card.mtf_nyquist is not None and not picture:
        mtf_nyquist = card.mtf_nyquist
    transfers = [SQUARE_PIXEL_MTF if mtf is None else mtf for mtf in mtf_nyquist]
    sensor = Sensor([mtf_to_sigma(mtf, card.scale) for mtf in transfers], card.scale)
    return Generator(
        sensor,
        network=_load_network(card),
        base=card.base,
        steps=card.steps,
        width_factors=(1.0,) if card.calibration is None else card.calibration.factors,
    ).eval()


def _load_network(card: ModelCard) -> RRDBNet | None:
    if card.network is None:
        return None
    path, bands = card.weights_path, card.bands
    assert path is not None, "a card with a network names its weights"
    assert bands is not None, "a card with a network names its bands"
    if not path.is_file():
        raise ModelError(f"the weights of {card.name} are missing: {path}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise ModelError(f"the weights of {card.name} are not those of its card: {path} was changed or damaged")
    network = RRDBNet(len(bands), len(bands), **card.network.model_dump())
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"the weights of {card.name} do not fit its card: {str(error).splitlines()[0]}") from error
    return network
