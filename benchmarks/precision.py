"""What bfloat16 does to pixels, on imagery held out: differences from float32 in DN, and in PSNR against the truth.

    python benchmarks/precision.py --data DATA

By each engine that computes in bfloat16 here: PyTorch on any processor, if slowly without instructions for it, OpenVINO
only where there are some.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import arguments_of, command_of, keep

from geosr.engine import Engine, EngineSpec, Parallel, Precision, choose_engine, system
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.evaluate.contenders import open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import SETS, ImageSet, observe, read_images
from geosr.evaluate.metrics import psnr
from geosr.model.build import build
from geosr.model.card import ModelCard
from geosr.model.zoo import DEFAULT_MODEL

DN = 10_000

PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def engines(card: ModelCard, transfers: Sequence[float | None]) -> dict[str, list[Engine]]:
    """For each that there is, one in float32 and one in bfloat16."""
    parallel = Parallel(1, system.cores())
    made: dict[str, list[Engine]] = {
        "torch-cpu": [
            TorchEngine(card, build(card, transfers), EngineSpec("torch-cpu", precision), parallel)
            for precision in PRECISIONS
        ]
    }
    if choose_engine(precision="bfloat16").name == "openvino-cpu":
        made["openvino-cpu"] = [
            OpenVinoEngine(card, transfers, EngineSpec("openvino-cpu", precision), parallel) for precision in PRECISIONS
        ]
    return made


def measure(held_out: ImageSet, data: Path, count: int | None, side: int | None) -> dict[str, dict[str, Any]]:
    """By engine, over the first ``count`` images of a set, each no larger than ``side`` HR pixels."""
    card = open_model(DEFAULT_MODEL).card
    bands, halo = card.bands or (), card.halo_px
    truths = [image[..., :side, :side] for image in read_images(held_out, data, bands)[:count]]
    reference = np.asarray(card.reference_reflectance, np.float32).reshape(-1, 1, 1)
    transfers = transfers_of(bands, card)
    seen = observe(truths, sensor_of(bands, transfers))
    found = {}
    for name, pair in engines(card, list(transfers.values())).items():
        differences, gains = [], []
        for truth, lr in zip(truths, seen, strict=True):
            padded = np.pad(lr.numpy(), ((0, 0), (halo, halo), (halo, halo)), mode="symmetric") / reference
            images = []
            for engine in pair:
                phases = engine.upscale(padded, np.ones(padded.shape, bool)).phases
                flat = torch.from_numpy(phases.reshape(1, -1, *phases.shape[2:]))
                images.append(torch.nn.functional.pixel_shuffle(flat, card.scale)[0] * torch.from_numpy(reference))
            differences.append((images[0] - images[1]).numpy().ravel() * DN)
            gains.append(psnr(images[1], truth) - psnr(images[0], truth))
        every = np.abs(np.concatenate(differences))
        found[name] = {
            "images": len(truths),
            "dn_rms": round(float(np.sqrt((every**2).mean())), 2),
            "dn_999": round(float(np.quantile(every, 0.999)), 2),
            "psnr_db": round(float(np.mean(gains)), 5),
        }
    return found


def main() -> None:
    """Measure every set."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--set", action="append", choices=[one.name for one in SETS], help="only this set")
    arguments = parser.parse_args()
    sizes = (1, 640) if arguments.smoke else (None, None)
    sets = {
        one.name: measure(one, arguments.data, *sizes)
        for one in SETS
        if arguments.set is None or one.name in arguments.set
    }
    keep("precision", command_of(parser, arguments), {"model": DEFAULT_MODEL, "sets": sets}, arguments.results)


if __name__ == "__main__":
    main()
