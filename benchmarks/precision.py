"""Effect of reduced precision on pixels of held-out imagery: differences from float32 in DN, and in PSNR against the truth.

    python benchmarks/precision.py --data DATA [--model MODEL]

bfloat16 by each engine that computes in it here: PyTorch on any processor, if slowly without instructions for it, OpenVINO
only where there are some. float16, which GPUs are given, by PyTorch on the CPU: it rounds what they round.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import arguments_of, command_of, keep

from geosr import hardware
from geosr.engine import Engine, EngineSpec, Parallel, choose_engine
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.evaluate.contenders import open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import SETS, ImageSet, observe, read_images
from geosr.evaluate.metrics import psnr
from geosr.model.build import build
from geosr.model.card import ModelCard
from geosr.model.zoo import DEFAULT_MODEL

DN = 10_000

PRECISIONS = {"torch-cpu": ("bfloat16", "float16"), "openvino-cpu": ("bfloat16",)}


def engines(card: ModelCard, transfers: Sequence[float | None]) -> dict[str, dict[str, Engine]]:
    """By name, of those that there are, and by type, float32 among them."""
    has_openvino = choose_engine(precision="bfloat16").name == "openvino-cpu"
    return {
        name: {precision: _engine(card, transfers, EngineSpec(name, precision)) for precision in ("float32", *reduced)}
        for name, reduced in PRECISIONS.items()
        if name == "torch-cpu" or has_openvino
    }


def _engine(card: ModelCard, transfers: Sequence[float | None], spec: EngineSpec) -> Engine:
    parallel = Parallel(1, hardware.cores())
    if spec.name == "torch-cpu":
        return TorchEngine(card, build(card, transfers), spec, parallel)
    return OpenVinoEngine(card, transfers, spec, parallel)


def measure(
    model: str, held_out: ImageSet, data: Path, count: int | None, side: int | None
) -> dict[str, dict[str, Any]]:
    """By engine and type, over the first ``count`` images of a set, each no larger than ``side`` HR pixels."""
    card = open_model(model).card
    bands, halo = card.bands or (), card.halo_px
    truths = [image[..., :side, :side] for image in read_images(held_out, data, bands)[:count]]
    reference = np.asarray(card.reference_reflectance, np.float32).reshape(-1, 1, 1)
    transfers = transfers_of(bands, card)
    seen = observe(truths, sensor_of(bands, transfers))

    def upscaled(engine: Engine, lr: torch.Tensor) -> torch.Tensor:
        padded = np.pad(lr.numpy(), ((0, 0), (halo, halo), (halo, halo)), mode="symmetric") / reference
        polyphase = engine.upscale(padded, np.ones(padded.shape, bool)).polyphase
        flat = torch.from_numpy(polyphase.reshape(1, -1, *polyphase.shape[2:]))
        return torch.nn.functional.pixel_shuffle(flat, card.scale)[0] * torch.from_numpy(reference)

    found = {}
    for name, by_precision in engines(card, list(transfers.values())).items():
        exact = by_precision.pop("float32")
        images = [upscaled(exact, lr) for lr in seen]
        for precision, engine in by_precision.items():
            differences, gains = [], []
            for truth, lr, image in zip(truths, seen, images, strict=True):
                rounded = upscaled(engine, lr)
                differences.append((image - rounded).numpy().ravel() * DN)
                gains.append(psnr(rounded, truth) - psnr(image, truth))
            every = np.abs(np.concatenate(differences))
            found[f"{name} {precision}"] = {
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
    parser.add_argument("--model", default=DEFAULT_MODEL)
    arguments = parser.parse_args()
    sizes = (1, 96) if arguments.smoke else (None, None)
    # Aerial imagery and Sentinel-2 itself.
    chosen = (SETS[0], SETS[-1]) if arguments.smoke else SETS
    sets = {one.name: measure(arguments.model, one, arguments.data, *sizes) for one in chosen}
    keep("precision", command_of(parser, arguments), {"model": arguments.model, "sets": sets}, arguments.results)


if __name__ == "__main__":
    main()
