"""From a finished run of a stack to a model of the zoo: weights, measured halo, card.

python -m geosr.release.stack_model CONFIG RUN --data FOLDER --left-out SCENE RUN [SCENE RUN …]

The figures on the card are of runs that left the scene out which they are measured on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from geosr.errors import TrainingError
from geosr.evaluate.band_sharpening import compare_reduced
from geosr.evaluate.chunk_margin import measure_halo
from geosr.model.card import ModelCard, Stack
from geosr.model.generator import Generator
from geosr.model.stack import COARSE, FINE, assemble, build_guide, multiply_adds_per_lr_pixel
from geosr.model.zoo import read_card
from geosr.release.stack_calibration import calibrate_stack
from geosr.training.reduced_scenes import StackConfig, StackStep, TwoGrids, read_scene, read_stack_config, scales
from geosr.training.stack_loop import RUN, STEPS, check_trained_with, untrained

_COMMAND = "python -m geosr.release.stack_model"

#: Side of the parts of scenes on which the halo is measured, pixels of the fine bands.
_HALO_SIDE_PX = 192


def release(config_path: Path, run: Path, left_out: Mapping[str, Path], data: Path, zoo: Path) -> ModelCard:
    """Measure, and write weights and card into the zoo's folder.

    Raises :class:`TrainingError` for a run that was not trained with the configuration.
    """
    config = read_stack_config(config_path)
    for one in (run, *left_out.values()):
        check_trained_with(config, one)
    weights = {
        f"{begin}{key}": value
        for begin, step in ((COARSE, "coarse"), (FINE, "fine"))
        for key, value in load_file(run / f"{step}.safetensors").items()
    }
    path = zoo / f"{config.name}.safetensors"
    save_file(weights, path)
    guide_card = read_card(config.guide)
    card = ModelCard(
        name=config.name,
        description=config.description,
        bands=(*config.guides, *config.bands),
        reference_reflectance=config.reference_reflectance,
        mtf_nyquist=config.mtf_nyquist,
        steps=config.back_projection_steps,
        stack=Stack(
            guides=len(config.guides),
            guide=config.guide,
            guide_digest=guide_card.digest,
            span=config.coarse.scale,
            coarse=config.coarse,
            fine=config.fine,
        ),
        sensor="sentinel-2",
        gsd_m=10,
        weights=path.name,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        halo_px=0,
        effective_resolution_lr_px=guide_card.effective_resolution_lr_px,
        training={
            "command": f"python -m geosr.training.stack_loop {config_path} --data DATA --output RUN",
            "steps": config.steps,
            "data": [scene.fine for scene in config.scenes],
        },
    )
    guide = build_guide(guide_card, config.mtf_nyquist, len(config.guides))
    model = assemble(card, guide, guide_card)
    for begin, part in ((COARSE, model.coarse), (FINE, model.fine)):
        part.network.load_state_dict(
            {key.removeprefix(begin): value for key, value in weights.items() if key.startswith(begin)}
        )
    calibrated = calibrate_stack(card, config, left_out, data, _COMMAND) if left_out else None
    scenes = [_on_one_grid(scene, config, data) for scene in config.scenes[:2]]
    halo_px, curve = measure_halo(model, scenes, config.reference_reflectance)
    card = card.model_copy(
        update={
            "halo_px": halo_px,
            "calibration": None if calibrated is None else calibrated.calibration,
            "multiply_adds_per_lr_px": multiply_adds_per_lr_pixel(model),
            "figures": {
                "command": f"{_COMMAND} {config_path} RUN --data DATA --left-out …",
                "left_out": measure(config, left_out, data, guide),
                "coverage_of_the_others": {} if calibrated is None else calibrated.coverage,
                "halo_difference_dn": {str(key): value for key, value in curve.items()},
            },
        }
    )
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (zoo / f"{config.name}.json").write_text(text + "\n", encoding="utf-8")
    return card


def measure(
    config: StackConfig, left_out: Mapping[str, Path], data: Path, guide: Generator
) -> dict[str, dict[str, Any]]:
    """For each scene that a run left out, and each step, how contenders fare on it, reduced by the step's scale."""
    figures: dict[str, dict[str, Any]] = {}
    for name, run in left_out.items():
        told = json.loads((run / RUN).read_text(encoding="utf-8"))
        if told["leave_out"] != name:
            raise TrainingError(f"the run {run} did not leave {name} out")
        fine, coarse = read_scene(_scene(config, name), config, data)
        figures[name] = {step: _figures(config, step, run, fine, coarse, guide) for step in STEPS}
    return figures


def _figures(
    config: StackConfig, step: StackStep, run: Path, fine: Tensor, coarse: Tensor, guide: Generator
) -> dict[str, Any]:
    model = untrained(config, step).eval()
    model.network.load_state_dict(load_file(run / f"{step}.safetensors"))
    view = scales(fine, coarse, config, step, guide)[0]
    contenders = compare_reduced(model, view.truth[None], view.guides[None], config.units()[1])
    return {name: asdict(one) for name, one in contenders.items()}


def _on_one_grid(scene: TwoGrids, config: StackConfig, data: Path) -> Tensor:
    """A part of a scene as the model is given it: reflectance ``(bands, rows, cols)``, coarse pixels repeated."""
    fine, coarse = read_scene(scene, config, data)
    guide_unit, unit = config.units()
    repeated = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    both = torch.cat([fine * guide_unit, repeated * unit], dim=1)[0]
    return both[:, :_HALO_SIDE_PX, :_HALO_SIDE_PX].clone()


def _scene(config: StackConfig, name: str) -> TwoGrids:
    return next(scene for scene in config.scenes if scene.name == name)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--left-out", nargs="+", default=[], metavar="SCENE RUN", help="runs that left a scene out")
    parser.add_argument("--zoo", type=Path, default=Path(__file__).parent.parent / "model" / "zoo")
    arguments = parser.parse_args()
    given = arguments.left_out
    if len(given) % 2:
        parser.error("--left-out takes the name of a scene and the run that left it out, and so on")
    left_out = {name: Path(run) for name, run in zip(given[::2], given[1::2], strict=True)}
    card = release(arguments.config, arguments.run, left_out, arguments.data, arguments.zoo)
    print(json.dumps(card.model_dump(mode="json"), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
