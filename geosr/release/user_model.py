"""From a user's finished run to a model of theirs, which ``geosr upscale --model CARD.json`` takes.

The models of the zoo are released otherwise (:mod:`geosr.release.zoo_model`): with figures of imagery held out. Those
of this one ``geosr evaluate CARD.json`` measures, on whatever imagery there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catalog.sensors import SensorProfile
from geosr.errors import TrainingError, UsageError
from geosr.evaluate.chunk_margin import measure_on_sample
from geosr.model.card import ModelCard
from geosr.release.calibration import calibrate
from geosr.release.card_files import fields_of, places, write
from geosr.training.config import TrainingConfig, read_config
from geosr.training.loop import build_generator, load_network
from geosr.training.run_folder import WEIGHTS, check_trained_with, read_figures

_COMMAND = "geosr models trained"


@dataclass(frozen=True)
class Publication:
    """Request to make a model of a run."""

    config: Path
    run: Path
    sensor: SensorProfile
    """The one whose bands the configuration names."""
    output: Path
    """The card, .json; the weights go beside it."""
    data: Path | None = None
    """Folder of the imagery for a calibration; only a run of half-widths needs it."""
    name: str | None = None
    """Name of the model; None for that of the card's file."""
    overwrite: bool = False


def publish(request: Publication) -> ModelCard:
    """Measure the margin of a run's averaged weights, calibrate their half-widths, and write card and weights.

    Raises :class:`UsageError` for bands that the sensor has not got, and for half-widths that cannot be calibrated,
    :class:`ModelError` for weights that are not of the configured network, :class:`TrainingError` for a run that has
    none or was trained with another configuration, :class:`ExistsError` for files that are there.
    """
    config, trained = read_config(request.config), request.run / WEIGHTS
    weights_path = places(request.output, request.config, trained, overwrite=request.overwrite)
    gsd_m = _gsd_m(config, request.sensor)
    if not trained.is_file():
        raise TrainingError(f"{request.run} holds no {WEIGHTS}: it is not a run of geosr train, or has not begun")
    check_trained_with(config, request.run)
    if config.network.width_features and not (config.calibration and request.data):
        raise UsageError(
            f"{request.config} is of half-widths, which are calibrated: name imagery in its `calibration`, and the "
            "folder with --data"
        )
    model = build_generator(config).eval()
    assert model.network is not None
    load_network(model, trained)
    steps = max((line["step"] for line in read_figures(request.run)), default=0)
    card = ModelCard(
        name=request.name or request.output.stem,
        description=f"RRDB network for {', '.join(config.bands)} ×{config.scale}, of {request.config.name}.",
        **fields_of(config),
        weights=weights_path.name,
        halo_px=0,
        multiply_adds_per_lr_px=model.network.multiply_adds_per_lr_pixel(),
        training={
            config.learns: {
                "command": f"geosr train {request.config.name} --data DATA --output RUN",
                "steps": steps,
                "data": [
                    *(source.glob for source in config.sources),
                    *(pairs.hr for pairs in config.pairs),
                    *(pairs.folder for pairs in config.pair_sets),
                ],
            }
        },
        licence="not stated",
        sensor=request.sensor.name,
        gsd_m=gsd_m,
    )
    halo_px, curve = measure_on_sample(card, model.network)
    calibration = None
    if config.network.width_features and request.data:
        calibration = calibrate(model, config, halo_px, request.data, _COMMAND)
    card = card.model_copy(
        update={"halo_px": halo_px, "calibration": calibration, "figures": {"halo_difference_dn": curve}}
    )
    return write(card, model.network.state_dict(), request.output)


def _gsd_m(config: TrainingConfig, sensor: SensorProfile) -> float | None:
    """That of the sensor's finest band of the model. Raises :class:`UsageError` for bands that are not the sensor's."""
    found = {name: sensor.band(name) for name in config.bands}
    unknown = [name for name, band in found.items() if band is None]
    if unknown:
        raise UsageError(f"{sensor.name} has no band {', '.join(unknown)}: name the sensor they are of (--sensor)")
    sizes = [band.gsd_m for band in found.values() if band is not None and band.gsd_m is not None]
    return min(sizes, default=None)
