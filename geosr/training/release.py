"""From a finished run to a model of the zoo: weights, measured halo, measured figures, card.

python -m geosr.training.release CONFIG --run RUN --data FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import rasterio
import torch
from safetensors.torch import load_file
from torch import Tensor

from geosr.evaluate.comparison import compare as compare_on
from geosr.evaluate.contenders import baselines, of_generator
from geosr.evaluate.halo import measure_halo
from geosr.evaluate.held_out import SETS
from geosr.evaluate.result import figures_of
from geosr.model.card import ModelCard, NetworkSize
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.training.config import TrainingConfig, read_config
from geosr.training.train import Start, add_start_options, build_generator, start_of

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
    assert isinstance(model.network, RRDBNet)
    model.network.load_state_dict(load_file(run / "weights.safetensors"))
    halo_px, curve = measure_halo(
        model, [_read_scene(data / name, config) for name in _HALO_SCENES], config.reference_reflectance
    )
    figures = compare(model, config, halo_px, data)

    weights = zoo / f"{config.name}.safetensors"
    shutil.copyfile(run / "weights.safetensors", weights)
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
        network=NetworkSize(**config.network.model_dump(), tail="shuffle"),
        weights=weights.name,
        weights_sha256=_sha256(weights),
        halo_px=halo_px,
        multiply_adds_per_lr_px=model.network.multiply_adds_per_lr_pixel(),
        effective_resolution_lr_px=figures[_RESOLUTION_SET][config.name]["effective_resolution_lr_px"],
        training={"command": command, **_history(run, start), "data": [source.glob for source in config.sources]},
        figures={
            "command": f"geosr evaluate {config.name} DATA",
            "held_out": figures,
            "halo_difference_dn": {str(key): value for key, value in curve.items()},
        },
    )
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (zoo / f"{config.name}.json").write_text(text + "\n", encoding="utf-8")
    return card


def compare(model: Generator, config: TrainingConfig, halo_px: int, data: Path) -> dict[str, dict[str, Any]]:
    """Figures of the model and of the interpolations on every held-out set: those of ``geosr evaluate``."""
    subject = of_generator(config.name, model, config.bands, config.reference_reflectance, halo_px)
    contenders = [*baselines(config.bands, model.sensor), subject]
    transfers = dict(zip(config.bands, config.mtf_nyquist, strict=True))
    return {which.name: figures_of(compare_on(which, data, contenders, subject, transfers)) for which in SETS}


def _history(run: Path, start: Start | None) -> dict[str, Any]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = {"steps": lines[-1]["step"]}
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
    parser = argparse.ArgumentParser(prog="python -m geosr.training.release", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the finished run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    add_start_options(parser)
    arguments = parser.parse_args()
    zoo = Path(__file__).parent.parent / "model" / "zoo"
    start = start_of(arguments)
    command = f"python -m geosr.training {arguments.config} --data DATA --out RUN"
    if start is not None:
        command += f" --from-weights WEIGHTS --from-step {start.step}"
    card = release(read_config(arguments.config), command, arguments.run, arguments.data, zoo, start)
    print(json.dumps(card.figures, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
