"""From a finished run to a model of the zoo: weights, measured halo, measured figures, card.

python -m geosr.training.release CONFIG --run RUN --data FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rasterio
import torch
from torch import Tensor

from geosr.evaluate.comparison import SetEvaluation
from geosr.evaluate.comparison import compare as compare_on
from geosr.evaluate.contenders import baselines, of_generator
from geosr.evaluate.halo import measure_halo
from geosr.evaluate.held_out import SETS
from geosr.evaluate.result import figures_of
from geosr.model.card import Calibration, ModelCard, NetworkSize
from geosr.model.generator import Generator
from geosr.training.calibrate import calibrate
from geosr.training.config import TrainingConfig, read_config
from geosr.training.run import WEIGHTS, read_figures
from geosr.training.train import Start, build_generator, load_network

_COMMAND = "python -m geosr.training.release"

#: Sentinel-2 scenes on which the halo is measured, with the DN of reflectance 1: fields and towns, bright clouds.
_HALO_SCENES = ("s2/austria_a.tif", "s2/alberta_clouds.tif")
_HALO_SIDE_PX = 320

#: The set whose pixels are nearest in size to the product's.
_RESOLUTION_SET = "claremont 2.4 m"


def release(config: TrainingConfig, command: str, run: Path, data: Path, zoo: Path, start: Start | None) -> ModelCard:
    """Measure the run's averaged weights, and write weights and card into the zoo's folder.

    ``start`` is what the run began with, when not with an untrained network.
    """
    model = build_generator(config).eval()
    assert model.network is not None
    load_network(model, run / WEIGHTS)
    halo_px, curve = measure_halo(
        model, [_read_scene(data / name, config) for name in _HALO_SCENES], config.reference_reflectance
    )
    calibration = None
    if config.network.width_features and config.calibration:
        calibration = calibrate(model, config, halo_px, data, f"{_COMMAND} CONFIG --run RUN --data DATA")
        model.set_width_factors(calibration.factors)
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
        scale=config.scale,
        bands=config.bands,
        reference_reflectance=config.reference_reflectance,
        mtf_nyquist=config.mtf_nyquist,
        steps=config.back_projection_steps,
        network=NetworkSize(**config.network.model_dump()),
        calibration=calibration,
        weights=weights.name,
        weights_sha256=_sha256(weights),
        halo_px=halo_px,
        multiply_adds_per_lr_px=model.network.multiply_adds_per_lr_pixel(),
        effective_resolution_lr_px=held_out[_RESOLUTION_SET][config.name]["effective_resolution_lr_px"],
        training={"command": command, **_history(run, start), "data": [source.glob for source in config.sources]},
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
    )
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (zoo / f"{config.name}.json").write_text(text + "\n", encoding="utf-8")
    return card


def compare(
    model: Generator, config: TrainingConfig, halo_px: int, data: Path, calibration: Calibration | None
) -> dict[str, SetEvaluation]:
    """The model and the interpolations on every held-out set, as ``geosr evaluate`` compares them."""
    subject = of_generator(
        config.name,
        model,
        config.bands,
        config.reference_reflectance,
        halo_px,
        level=None if calibration is None else calibration.level,
    )
    contenders = [*baselines(config.bands, model.sensor), subject]
    transfers = dict(zip(config.bands, config.mtf_nyquist, strict=True))
    return {which.name: compare_on(which, data, contenders, subject, transfers) for which in SETS}


def _history(run: Path, start: Start | None) -> dict[str, Any]:
    steps = {"steps": read_figures(run)[-1]["step"]}
    if start is None:
        return steps
    return {**steps, "began_at_step": start.step, "began_with_sha256": _sha256(start.weights)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_scene(path: Path, config: TrainingConfig) -> Tensor:
    with rasterio.open(path) as raster:
        indexes = [raster.descriptions.index(band) + 1 for band in config.bands]
        pixels = raster.read(indexes).astype("float32") / 10000
    return torch.from_numpy(pixels[:, :_HALO_SIDE_PX, :_HALO_SIDE_PX].copy())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the finished run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--zoo", type=Path, default=Path(__file__).parent.parent / "model" / "zoo")
    parser.add_argument("--from-weights", type=Path, help="what the run began with, when not with an untrained network")
    parser.add_argument("--from-step", type=int, default=0)
    arguments = parser.parse_args()
    start = Start(arguments.from_weights, arguments.from_step) if arguments.from_weights else None
    command = f"geosr train {arguments.config} --data DATA --output RUN"
    if start is not None:
        command += f" --from-weights WEIGHTS --from-step {start.step}"
    card = release(read_config(arguments.config), command, arguments.run, arguments.data, arguments.zoo, start)
    print(json.dumps(card.model_dump(mode="json"), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
