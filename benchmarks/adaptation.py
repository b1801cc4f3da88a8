"""A network published for pictures, adapted to Sentinel-2's bands, against others of its size on a city held out.

    python benchmarks/adaptation.py --data DATA --runs RUNS

DATA/weights holds the published checkpoint. It is adapted, and trained further for some steps. Networks of the same
size are trained from untrained weights in the same way, for as many: one that makes the whole image, as the adapted one
does, and one that adds to bicubic interpolation. Runs that are there already are used as they are. Nothing of the
measured city is trained on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from machine import arguments_of, command_of, keep
from safetensors.torch import save_file

from catalog.sensors import read_sensor
from geosr.evaluate.comparison import compare
from geosr.evaluate.contenders import Contender, baselines, contender, of_generator, open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import ImageSet, find_images
from geosr.evaluate.result import figures_of
from geosr.model import zoo
from geosr.model.card import ModelCard, read_card_file
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.progress import PlainReporter
from geosr.release.adapt import Adaptation, adapt
from geosr.training.config import TrainingConfig, read_config
from geosr.training.loop import Start, build_generator, load_network, train
from geosr.training.run_folder import WEIGHTS

CONFIG = Path(__file__).parent.parent / "configs" / "rgbn_x4.yaml"
CHECKPOINT = "weights/realesrgan_x4plus_rgb_fp16.safetensors"

#: Measured on: a fixed part of the city, at the GSD nearest to the product's.
IMAGES = ImageSet("claremont 2.4 m, every tenth chip", "hr/naip_california/claremont_*2.tif", 255, reduce=4)

#: What all runs have other than the configuration.
COMMON: dict[str, Any] = {
    "patch_lr_px": 16,
    "batch": 4,
    # Between ESRGAN's, of training from the beginning, and Real-ESRGAN's, of training further.
    "learning_rate": 2e-4,
    "precision": "float32",
    "warmup": 10,
    "validation": [],
}

#: The smallest case.
SAMPLE = Path(__file__).parent.parent / "geosr" / "data"
SMOKE_IMAGES = ImageSet("sample", "*.tif", 10000, reduce=4)
SMOKE: dict[str, Any] = {
    "sources": [{"glob": "*.tif", "full_scale": 10000, "gain": [1, 1]}],
    "patch_lr_px": 8,
    "batch": 2,
    "warmup": 1,
}

#: LR pixels mirrored around an image, as in evaluations of published networks.
HALO_PX = 10


def main() -> None:
    """Adapt, train what is missing, measure, and keep the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the imagery")
    parser.add_argument("--runs", type=Path, help="where the adapted model and the runs are kept")
    parser.add_argument("--steps", type=int, default=300, help="of each run")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "smoke.safetensors"
            save_file(RRDBNet(3, 3, features=8, growth=4, blocks=1).state_dict(), checkpoint)
            result = measure(checkpoint, SAMPLE, Path(folder), 2, SMOKE_IMAGES, SMOKE)
    elif arguments.data is None or arguments.runs is None:
        parser.error("name the imagery with --data, and a folder with --runs")
    else:
        checkpoint = arguments.data / CHECKPOINT
        result = measure(checkpoint, arguments.data, arguments.runs, arguments.steps, IMAGES, {})
    keep("adaptation", command_of(parser, arguments), result, arguments.results)


def measure(
    checkpoint: Path, data: Path, runs: Path, steps: int, images: ImageSet, changes: dict[str, Any]
) -> dict[str, Any]:
    """Everything, for the table."""
    runs.mkdir(parents=True, exist_ok=True)
    card = adapted(checkpoint, runs / "adapted.json")
    assert card.weights_path is not None
    alike, added = (variant(card, steps, base=base, **changes) for base in (card.base, "bicubic"))
    folders = {name: runs / f"{steps} {name}" for name in ("tuned", "untrained", "added")}
    train(alike, data, folders["tuned"], Start(card.weights_path, 0))
    train(alike, data, folders["untrained"])
    train(added, data, folders["added"])
    bands = card.bands or ()
    default = open_model(zoo.DEFAULT_MODEL)
    transfers = transfers_of(bands, default.card)
    sensor = sensor_of(bands, transfers)
    contenders = [
        *(one for one in baselines(bands, sensor) if one.name == "bicubic"),
        # What the last steps alone are worth: all below end in them.
        of_generator(f"bicubic, {card.steps} steps", Generator(sensor, steps=card.steps), bands, None, HALO_PX),
        contender(default, bands, sensor),
        of_run("adapted", alike, card.weights_path),
        of_run("adapted and trained", alike, folders["tuned"] / WEIGHTS),
        of_run("from untrained weights", alike, folders["untrained"] / WEIGHTS),
        of_run("from untrained weights, added to bicubic", added, folders["added"] / WEIGHTS),
    ]
    compared = compare(images, data, contenders, contenders[2], transfers, PlainReporter())
    return {
        "checkpoint": card.training["adapted"]["checkpoint"],
        "checkpoint_sha256": card.training["adapted"]["checkpoint_sha256"],
        "multiply_adds_per_lr_px": card.multiply_adds_per_lr_px,
        "steps": steps,
        "batch": alike.batch,
        "patch_lr_px": alike.patch_lr_px,
        "learning_rate": alike.learning_rate,
        "set": images.name,
        "images": len(find_images(images, data)),
        "halo_difference_dn": card.figures["halo_difference_dn"],
        "rows": figures_of(compared),
    }


def adapted(checkpoint: Path, card: Path) -> ModelCard:
    """The checkpoint for the configuration's bands."""
    if card.exists():
        return read_card_file(card)
    bands = tuple(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["bands"])
    return adapt(Adaptation(checkpoint, bands, read_sensor("sentinel-2"), card))


def variant(card: ModelCard, steps: int, **changes: Any) -> TrainingConfig:
    """The configuration for a network of the card's size, with a schedule of this length."""
    assert card.network is not None
    content = {**yaml.safe_load(CONFIG.read_text(encoding="utf-8")), **COMMON, **changes}
    content |= {
        "name": card.name,
        "network": card.network.model_dump(),
        "noise_limit": 0,
        "plain_image_noise_limit": 0,
        "reference_reflectance": list(card.reference_reflectance or ()),
        "mtf_nyquist": list(card.mtf_nyquist or ()),
        "back_projection_steps": card.steps,
        "steps": steps,
        "validate_every": steps,
        "checkpoint_every": min(25, steps),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variant.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return read_config(path)


def of_run(name: str, config: TrainingConfig, weights: Path) -> Contender:
    """A run's generator with some weights."""
    model = build_generator(config).eval()
    load_network(model, weights)
    return of_generator(name, model, config.bands, config.reference_reflectance, HALO_PX)


if __name__ == "__main__":
    main()
