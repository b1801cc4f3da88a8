"""How well models bring back held-out imagery that was seen through Sentinel-2's blur.

    python benchmarks/fidelity.py --data DATA

The sets are those of ``geosr/evaluate/held_out.py``: reflectance, blurred with sigma 2.09, 2.03, 2.15 and 2.09, sampled
at every fourth pixel, noise 0.001. Two bicubic kernels are compared, for both are called that: a = -1/2 (GDAL, Pillow)
and a = -3/4 (PyTorch, OpenCV).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from machine import keep

from geosr.evaluate.held_out import SETS, observe, read_set, score, whole_image
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.generator import Generator


def main() -> None:
    """Score every contender on every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--model", default=zoo.DEFAULT_MODEL)
    arguments = parser.parse_args()

    card = zoo.read_card(arguments.model)
    model = build(card, [None] * len(card.bands))
    unit = [1.0] * len(card.bands)
    contenders = {
        "bicubic": whole_image(Generator(model.sensor, steps=0), unit, 2),
        "bicubic (a = -3/4)": lambda lr: torch.nn.functional.interpolate(lr[None], scale_factor=4, mode="bicubic")[0],
        "backprojection": whole_image(Generator(model.sensor, steps=3), unit, 14),
        card.name: whole_image(model, card.reference_reflectance, card.halo_px),
    }
    sets = {}
    for which in SETS:
        truths = read_set(which, arguments.data, card.bands)
        inputs = observe(truths, model)
        sets[which.name] = {
            name: {key: round(value, 4) for key, value in asdict(score(run, truths, inputs, model)).items()}
            for name, run in contenders.items()
        }
    keep(
        "fidelity",
        "python benchmarks/fidelity.py --data DATA",
        {"model": card.name, "multiply_adds_per_lr_px": card.multiply_adds_per_lr_px, "sets": sets},
    )


if __name__ == "__main__":
    main()
