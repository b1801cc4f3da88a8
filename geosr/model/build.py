"""From a model card to a generator that runs in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from geosr.errors import ModelError
from geosr.model.card import ModelCard
from geosr.model.generator import Generator
from geosr.model.kernels import sensor_sigmas
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor
from geosr.model.weights import misfit, read_weights


def build(card: ModelCard, mtf_nyquist: Sequence[float | None], *, plain_image: bool = False) -> Generator:
    """The model of a card, for bands of these modulation transfers where the card does not fix them.

    Raises :class:`ModelError` when weights are missing or are not those of the card, and for a stack, which is built by
    :func:`geosr.model.stack.build_stack`.
    """
    if card.stack is not None:
        raise ModelError(
            f"{card.name} is for bands of two sampling distances, and here all have one: take a model for those, "
            f"as {card.stack.guide}"
        )
    sensor = Sensor(sensor_sigmas(card.transfers(mtf_nyquist, plain_image=plain_image), card.scale), card.scale)
    return Generator(
        sensor,
        network=_load_network(card),
        base=card.base,
        steps=card.steps,
        width_factors=(1.0,) if card.calibration is None else card.calibration.factors,
        noise_limits=card.noise_limits(plain_image=plain_image),
        input_limits=card.input_limits,
        overshoot=card.overshoot,
    ).eval()


def _load_network(card: ModelCard) -> RRDBNet | None:
    if card.network is None:
        return None
    bands = card.bands
    assert bands is not None, "a card with a network names its bands"
    weights = {name: torch.from_numpy(values) for name, values in read_weights(card).items()}
    network = RRDBNet(len(bands), len(bands), **card.network.model_dump())
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise misfit(card, error) from error
    return network
