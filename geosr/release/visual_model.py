"""From a finished run of the perceptual stage to the visual weights of a model of the zoo.

python -m geosr.release.visual_model CONFIG RUN --data FOLDER --from-weights FILE

What the sharpness does is measured after that, by benchmarks/sharpness.py, which keeps its figures in the card. The
rest of the card stays as it is, and with it the identity of what the model makes without sharpness.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from geosr.errors import ModelError
from geosr.evaluate.chunk_margin import measure_halo
from geosr.model.card import Visual, read_card_file
from geosr.release.zoo_model import HALO_SCENES, TrainingStage, read_scene, sha256
from geosr.training.loop import Start, build_generator, load_network
from geosr.training.perceptual import features_used
from geosr.training.run_folder import WEIGHTS, check_trained_with

_COMMAND = "python -m geosr.release.visual_model"


def release_visual(stage: TrainingStage, steps: int, data: Path, zoo: Path) -> Visual:
    """Write the run's averaged weights beside the card of the model that it is named after, and into that card.

    ``steps`` of back-projection end the sharpened model. Raises :class:`ModelError` when the run is no perceptual
    stage, or did not begin with that model's weights, :class:`TrainingError` when it had another configuration.
    """
    config, path = stage.config, zoo / f"{stage.config.name}.json"
    card = read_card_file(path)
    if config.perceptual is None or stage.start is None:
        raise ModelError(f"{stage.config_path} is not a perceptual stage: release its run with the fidelity stage")
    if sha256(stage.start.weights) != card.weights_sha256:
        raise ModelError(f"the run began with {stage.start.weights}, which are not the weights of {card.name}")
    check_trained_with(config, stage.run)
    model = build_generator(config.model_copy(update={"back_projection_steps": steps})).eval()
    load_network(model, stage.run / WEIGHTS)
    scenes = [read_scene(data / name, config) for name in HALO_SCENES]
    halo_px, curve = measure_halo(model, scenes, config.reference_reflectance)

    weights = zoo / f"{config.name}-visual.safetensors"
    # Half the size, and what it rounds is far below what the mixture's share decides.
    weights.write_bytes(save({name: values.half() for name, values in load_file(stage.run / WEIGHTS).items()}))
    visual = Visual(
        weights=weights.name,
        weights_sha256=sha256(weights),
        steps=steps,
        halo_px=halo_px,
        features=features_used(config.perceptual),
        training=stage.history(),
        figures={"halo_difference_dn": {str(key): value for key, value in curve.items()}},
    )
    _keep(visual, path)
    return visual


def keep_figures(path: Path, command: str, held_out: dict[str, Any]) -> None:
    """Put what a command measured of the visual weights into their card."""
    visual = read_card_file(path).visual
    if visual is None:
        raise ModelError(f"{path} has no visual weights")
    _keep(visual.model_copy(update={"figures": {**visual.figures, "command": command, "held_out": held_out}}), path)


def _keep(visual: Visual, path: Path) -> None:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["visual"] = visual.model_dump(mode="json")
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--zoo", type=Path, default=Path(__file__).parent.parent / "model" / "zoo")
    parser.add_argument("--from-weights", type=Path, required=True, help="what the run began with")
    parser.add_argument("--steps", type=int, required=True, help="steps of back-projection of sharpened products")
    arguments = parser.parse_args()
    stage = TrainingStage(arguments.config, arguments.run, Start(arguments.from_weights, 0))
    visual = release_visual(stage, arguments.steps, arguments.data, arguments.zoo)
    print(json.dumps(visual.model_dump(mode="json"), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
