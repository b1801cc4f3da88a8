"""From finished runs to a model of the zoo: weights, measured halo, measured figures, card.

python -m geosr.release.zoo_model CONFIG RUN [HALF_WIDTHS_CONFIG HALF_WIDTHS_RUN] --data FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rasterio
import torch
from safetensors.torch import load_file
from torch import Tensor

from catalog.sentinel2 import BANDS
from geosr.errors import ModelError
from geosr.evaluate.chunk_margin import measure_halo
from geosr.evaluate.comparison import SetEvaluation
from geosr.evaluate.comparison import compare as compare_on
from geosr.evaluate.contenders import baselines, of_generator
from geosr.evaluate.held_out import SETS
from geosr.evaluate.result import figures_of
from geosr.model.card import Calibration, ModelCard
from geosr.model.generator import Generator
from geosr.release import bfloat16_rounding
from geosr.release.calibration import calibrate
from geosr.release.card_files import fields_of
from geosr.release.dates_calibration import calibrate_dates
from geosr.training.config import TrainingConfig, read_config
from geosr.training.loop import Start, build_generator, load_network
from geosr.training.run_folder import WEIGHTS, check_trained_with, read_figures

_COMMAND = "python -m geosr.release.zoo_model"

#: Sentinel-2 scenes on which the halo is measured, with the DN of reflectance 1: fields and towns, bright clouds.
HALO_SCENES = ("s2/austria_a.tif", "s2/alberta_clouds.tif")
_HALO_SIDE_PX = 320

#: Whose profile it is that released models are made for.
_SENSOR = "sentinel-2"

#: The set whose pixels are nearest in size to the product's.
_RESOLUTION_SET = "claremont 2.4 m"


@dataclass(frozen=True)
class TrainingStage:
    """A finished run, of the image's weights or of the half-widths'."""

    config_path: Path
    run: Path
    start: Start | None = None
    """Start of the run, when not an untrained network."""

    @property
    def config(self) -> TrainingConfig:
        return read_config(self.config_path)

    def history(self) -> dict[str, Any]:
        """History of the training, for the card."""
        command = f"geosr train {self.config_path} --data DATA --output RUN"
        told: dict[str, Any] = {"steps": read_figures(self.run)[-1]["step"]}
        if self.start is not None:
            command += " --from-weights WEIGHTS" + (f" --from-step {self.start.step}" if self.start.step else "")
            told |= {"began_at_step": self.start.step, "began_with_sha256": sha256(self.start.weights)}
        return {"command": command, **told, "data": [source.glob for source in self.config.sources]}


def release(stages: Sequence[TrainingStage], data: Path, zoo: Path) -> ModelCard:
    """Measure the last stage's averaged weights, and write weights and card into the zoo's folder.

    The stages are the image's and, for a model with half-widths, theirs. Raises :class:`TrainingError` for a run that
    was not trained with its configuration.
    """
    for stage in stages:
        check_trained_with(stage.config, stage.run)
    run, config = stages[-1].run, stages[-1].config
    model = build_generator(config).eval()
    assert model.network is not None
    load_network(model, run / WEIGHTS)
    _check_image(model, stages[0].run / WEIGHTS)
    halo_px, curve = measure_halo(
        model, [read_scene(data / name, config) for name in HALO_SCENES], config.reference_reflectance
    )
    # Only now: chunks are compared as engines make them, before products bound them.
    model.overshoot = config.overshoot
    calibration = None
    if config.network.width_features and config.calibration:
        calibration = calibrate(model, config, halo_px, data, _COMMAND)
        model.set_width_factors(calibration.factors)
        of_dates = calibrate_dates(model, config, halo_px, calibration, data, _COMMAND)
        calibration = calibration.model_copy(update={"dates": of_dates})
    evaluations = compare(model, config, halo_px, data, calibration)
    held_out = {name: figures_of(one) for name, one in evaluations.items()}

    weights = zoo / f"{config.name}.safetensors"
    shutil.copyfile(run / WEIGHTS, weights)
    card = ModelCard(
        name=config.name,
        description=(
            f"RRDB network for {', '.join(config.bands)} ×{config.scale}, trained through Sentinel-2's blur; "
            "the default."
        ),
        **fields_of(config),
        bfloat16=bfloat16_rounding.find(model, stages[0].config, data, zoo / f"{config.name}.json"),
        calibration=calibration,
        weights=weights.name,
        weights_sha256=sha256(weights),
        halo_px=halo_px,
        multiply_adds_per_lr_px=model.network.multiply_adds_per_lr_pixel(),
        effective_resolution_lr_px=held_out[_RESOLUTION_SET][config.name]["effective_resolution_lr_px"],
        training={stage.config.learns: stage.history() for stage in stages},
        figures={
            "command": f"geosr evaluate {config.name} DATA",
            "held_out": held_out,
            "coverage": {
                name: {band: asdict(figures) for row in one.rows for band, figures in (row.coverage or {}).items()}
                for name, one in evaluations.items()
                if calibration is not None
            },
            "halo_difference_dn": {str(key): value for key, value in curve.items()},
        },
        sensor=_SENSOR,
        gsd_m=min(BANDS[band].gsd_m for band in config.bands),
    )
    bfloat16_rounding.write(card, zoo / f"{config.name}.json")
    return card


def _check_image(model: Generator, weights: Path) -> None:
    """Raise :class:`ModelError` when the image's weights are not those of the run that the card is to name."""
    assert model.network is not None
    own = model.network.state_dict()
    if any(not torch.equal(own[key], value) for key, value in load_file(weights).items() if key in own):
        raise ModelError(f"the half-widths were not learned beside {weights}: release the run that they began with")


def compare(
    model: Generator, config: TrainingConfig, halo_px: int, data: Path, calibration: Calibration | None
) -> dict[str, SetEvaluation]:
    """The model and the interpolations on every held-out set, as ``geosr evaluate`` compares them."""
    subject = of_generator(config.name, model, config.bands, config.reference_reflectance, halo_px, calibration)
    contenders = [*baselines(config.bands, model.sensor), subject]
    transfers = dict(zip(config.bands, config.mtf_nyquist, strict=True))
    return {which.name: compare_on(which, data, contenders, subject, transfers) for which in SETS}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_scene(path: Path, config: TrainingConfig) -> Tensor:
    """A part of a Sentinel-2 scene that the halo is measured on: reflectance ``(bands, rows, cols)``."""
    with rasterio.open(path) as raster:
        indexes = [raster.descriptions.index(band) + 1 for band in config.bands]
        pixels = raster.read(indexes).astype("float32") / 10000
    return torch.from_numpy(pixels[:, :_HALO_SIDE_PX, :_HALO_SIDE_PX].copy())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("stages", type=Path, nargs="+", metavar="CONFIG RUN", help="the image's, then the half-widths'")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--zoo", type=Path, default=Path(__file__).parent.parent / "model" / "zoo")
    parser.add_argument("--from-weights", type=Path, help="what the image began with, if not an untrained network")
    parser.add_argument("--from-step", type=int, default=0)
    arguments = parser.parse_args()
    given = arguments.stages
    if len(given) not in (2, 4):
        parser.error("give a configuration and its run, and the same of the half-widths")
    start = Start(arguments.from_weights, arguments.from_step) if arguments.from_weights else None
    stages = [TrainingStage(given[0], given[1], start)]
    if len(given) == 4:
        stages.append(TrainingStage(given[2], given[3], Start(given[1] / WEIGHTS, 0)))
    card = release(stages, arguments.data, arguments.zoo)
    print(json.dumps(card.model_dump(mode="json"), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
