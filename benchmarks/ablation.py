"""Gains by the parts of a training configuration, from short runs that differ in one thing each.

    python benchmarks/ablation.py --data DATA --runs FOLDER

Each run begins with an untrained network and the same seed. Runs that are finished in FOLDER are not repeated.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from machine import keep

from geosr.training.config import TrainingConfig, read_config
from geosr.training.loop import build_generator, train
from geosr.training.run_folder import read_figures

CONFIG = Path(__file__).parent.parent / "configs" / "rgbn_x4.yaml"

#: What all have other than the configuration: the shipped weights, too, were trained with fewer steps than they take.
COMMON: dict[str, Any] = {"back_projection_steps": 10}

#: What each run has other than the configuration, by what it is called in the table.
VARIANTS: dict[str, dict[str, Any]] = {
    "as configured": {},
    "AdamW at 6e-4": {"learning_rate": 6e-4},
    "AdamW at 1e-3": {"learning_rate": 1e-3},
    "Muon, AdamW at 0.3 of its rate": {"optimiser": "muon"},
    "loss: Charbonnier, epsilon 0.03": {"loss": {"pixel": "charbonnier", "charbonnier_epsilon": 0.03}},
    "loss: L1": {"loss": {"pixel": "l1"}},
    "loss: mean square": {"loss": {"pixel": "l2"}},
    "loss: with spectral angle, 0.1": {"loss": {"pixel": "rms", "spectral_angle": 0.1}},
    "loss: with gradient, 0.5": {"loss": {"pixel": "rms", "gradient": 0.5}},
    "loss: with frequency, 0.1": {"loss": {"pixel": "rms", "frequency": 0.1}},
    "one step of back-projection": {"back_projection_steps": 1},
    "no back-projection": {"back_projection_steps": 0},
    "deeper and narrower": {"network": {"features": 40, "growth": 24, "blocks": 5}},
}


def main() -> None:
    """Run what is missing, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--runs", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = {
        name: run(variant(changes, arguments.steps), arguments.data, arguments.runs / f"{arguments.steps} {name}")
        for name, changes in VARIANTS.items()
    }
    keep("ablation", "python benchmarks/ablation.py --data DATA --runs RUNS", {"steps": arguments.steps, "rows": rows})


def variant(changes: dict[str, Any], steps: int) -> TrainingConfig:
    """The configuration with some of its fields changed, and a schedule of this length."""
    content = {**yaml.safe_load(CONFIG.read_text(encoding="utf-8")), **COMMON, **changes}
    content |= {"steps": steps, "validate_every": steps, "checkpoint_every": steps, "warmup": min(400, steps // 5)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variant.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return read_config(path)


def run(config: TrainingConfig, data: Path, folder: Path) -> dict[str, float]:
    """Gains over bicubic at the end of a run, dB, and what the network costs."""
    train(config, data, folder)
    network = build_generator(config).network
    assert network is not None
    last = read_figures(folder)[-1]
    gains = {name: value for name, value in last.items() if name != "step"}
    return {**gains, "multiply_adds_per_lr_px": network.multiply_adds_per_lr_pixel()}


if __name__ == "__main__":
    main()
