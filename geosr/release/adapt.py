"""From a checkpoint for plain images to a model of ours: weights widened, margin measured, card written beside them.

What the published network takes as 0 to 1 is reflectance divided by a fixed reference, linear and never stretched: 0.3,
and 0.5 of infrared, as for the default model. So a landscape fills the network's range; what is brighter goes beyond.
Photographs need 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from catalog.sensors import SensorBand, SensorProfile
from geosr.errors import ModelError, UsageError
from geosr.evaluate.chunk_margin import measure_on_sample
from geosr.model.card import ModelCard, read_card_file
from geosr.model.esrgan_checkpoint import Checkpoint, read_checkpoint
from geosr.model.widen import COLOURS, widen
from geosr.release.card_files import places, write

#: Steps of back-projection after the network, as many as the default model has.
STEPS = 16

#: Reflectance that is 1 at the network's input, and how many times as much it is of infrared.
REFERENCE = 0.3
_OF_INFRARED = 5 / 3


@dataclass(frozen=True)
class Adaptation:
    """Request to adapt a checkpoint."""

    checkpoint: Path
    bands: tuple[str, ...]
    """Bands of the sensor, in the order in which the network is to have them."""
    sensor: SensorProfile
    output: Path
    """The card, .json; the weights go beside it."""
    name: str | None = None
    """Name of the model; None for that of the card's file."""
    steps: int = STEPS
    overwrite: bool = False
    white: float = REFERENCE
    """Reflectance, or brightness of plain images, that is 1 at the network's input."""


def adapt(request: Adaptation) -> ModelCard:
    """Widen a checkpoint's network to a sensor's bands, measure its margin, and write card and weights.

    Raises :class:`UsageError` for bands that the sensor has not got or that make no sense, :class:`ModelError` for a
    checkpoint that is no network from and to red, green and blue, :class:`ExistsError` for files that are there.
    """
    weights_path = places(request.output, request.checkpoint, overwrite=request.overwrite)
    chosen = _bands(request)
    roles: list[str] = [band.role for band in chosen]
    if not request.steps and len(chosen) > len(COLOURS):
        raise UsageError(
            "without back-projection bands other than red, green and blue would hold the colours' mean as their "
            "reflectance: leave those out, or give it some steps"
        )
    read = read_checkpoint(request.checkpoint)
    if (read.entering, read.leaving) != (len(COLOURS), len(COLOURS)):
        raise ModelError(
            f"{request.checkpoint} takes {read.entering} bands and gives {read.leaving}: "
            "only networks from and to red, green and blue can be adapted"
        )
    widened = Checkpoint(
        widen(read.weights, len(chosen), [roles.index(colour) for colour in COLOURS]),
        read.size,
        len(chosen),
        len(chosen),
    )
    names = tuple(band.name for band in chosen)
    card = ModelCard(
        name=request.name or request.output.stem,
        description=(
            f"{request.checkpoint.stem} for {', '.join(names)} ×4: its red, green and blue as published"
            + (", the others with their mean's detail" if len(names) > len(COLOURS) else "")
            + (", seen through the sensor once more." if request.steps else ", without back-projection.")
        ),
        bands=names,
        reference_reflectance=tuple(request.white * _OF_INFRARED if role == "nir" else request.white for role in roles),
        mtf_nyquist=tuple(band.mtf_nyquist for band in chosen),
        base="none",
        steps=request.steps,
        network=read.size,
        weights=weights_path.name,
        halo_px=0,
        multiply_adds_per_lr_px=widened.network().multiply_adds_per_lr_pixel(),
        training={
            "adapted": {
                "command": f"geosr models adapt CHECKPOINT --bands {','.join(names)} --sensor {request.sensor.name}",
                "checkpoint": request.checkpoint.name,
                "checkpoint_sha256": hashlib.sha256(request.checkpoint.read_bytes()).hexdigest(),
            }
        },
        licence="that of the checkpoint",
        sensor=request.sensor.name,
        gsd_m=chosen[roles.index("red")].gsd_m,
    )
    return _write(card, widened, request.output)


def with_weights(card_path: Path, weights: Path, output: Path, *, name: str | None, overwrite: bool) -> ModelCard:
    """A model as another, with other weights of the same size, as training leaves them; its margin is measured anew.

    What was measured on the other model is left out, and its half-widths with it. Raises :class:`ModelError` when the
    weights do not fit, :class:`ExistsError` for files that are there already.
    """
    weights_path = places(output, weights, card_path, overwrite=overwrite)
    card = read_card_file(card_path)
    if card.network is None or card.network.tail != "interpolate":
        raise ModelError(f"{card_path} is not the card of an adapted model")
    read = read_checkpoint(weights)
    bands = len(card.bands or ())
    if (read.entering, read.leaving, read.size) != (bands, bands, card.network):
        raise ModelError(f"the weights {weights} are of another network than {card.name}'s")
    tuned = card.model_copy(
        update={
            "name": name or output.stem,
            "weights": weights_path.name,
            "effective_resolution_lr_px": None,
            "bfloat16": None,
            "training": {**card.training, "tuned": {"weights": weights.name, "began_with_sha256": card.weights_sha256}},
        }
    )
    return _write(tuned, read, output)


def _bands(request: Adaptation) -> list[SensorBand]:
    """The sensor's bands that are asked for.

    Raises :class:`UsageError` for those that it has not got, and where a colour is missing.
    """
    listed = ", ".join(request.bands)
    found = {text: request.sensor.band(text) for text in request.bands}
    unknown = [text for text, band in found.items() if band is None]
    if unknown:
        known = ", ".join(band.name for band in request.sensor.bands)
        raise UsageError(f"{request.sensor.name} has no band {', '.join(unknown)}: it has {known}")
    chosen = [band for band in (found[text] for text in request.bands) if band is not None]
    roles = [band.role for band in chosen]
    if len(set(roles)) < len(roles):
        raise UsageError(f"{listed} names a band twice")
    missing = [colour for colour in COLOURS if colour not in roles]
    if missing:
        raise UsageError(f"{listed} has no {' and no '.join(missing)}: the network is published for red, green, blue")
    return chosen


def _write(card: ModelCard, network: Checkpoint, output: Path) -> ModelCard:
    """Measure a card's margin, and put its weights and it in place."""
    halo_px, curve = measure_on_sample(card, network.network())
    card = card.model_copy(
        update={"halo_px": halo_px, "figures": {**card.figures, "halo_difference_dn": curve}},
    )
    return write(card, network.weights, output)
