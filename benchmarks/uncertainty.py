"""Coverage of half-widths next to that of an oracle, and their cost.

    python benchmarks/uncertainty.py --data DATA

Worth: coverage on the held-out sets, beside an oracle that is told the true errors of each pixel's neighbours and takes
their mean times the factor with which 90 % of all pixels are covered. No half-width that is made from the source can
know as much. "All sets" has the same number of pixels of each.

Cost: the forward pass with half-widths and without, and the same of the whole command, which also writes them. Both
alternate; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import command_of, keep
from scenes import write_scene
from torch.nn import functional as F

from geosr.evaluate.contenders import contender, open_model, sensor_of, transfers_of
from geosr.evaluate.coverage import measure_coverage
from geosr.evaluate.held_out import SETS, observe, read_images
from geosr.model.build import build
from geosr.model.zoo import DEFAULT_MODEL, read_card


def alternate(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    first(), second()
    for _ in range(repeats):
        for kept, work in zip(seconds, (first, second), strict=True):
            began = time.perf_counter()
            work()
            kept.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def oracle(errors: Sequence[torch.Tensor], level: float) -> list[torch.Tensor]:
    """Half-widths from the mean of the errors within three pixels, without the pixel's own; one factor per band."""
    side = 7
    sums = [F.avg_pool2d(F.pad(one[None], (3, 3, 3, 3), mode="replicate"), side, 1)[0] * side**2 for one in errors]
    means = [(total - one) / (side**2 - 1) for total, one in zip(sums, errors, strict=True)]
    factors = []
    for band in range(len(errors[0])):
        ratios = np.concatenate(
            [(one[band] / mean[band]).numpy().ravel() for one, mean in zip(errors, means, strict=True)]
        )
        factors.append(float(np.quantile(ratios, level)))
    return [mean * torch.tensor(factors).reshape(-1, 1, 1) for mean in means]


def first_pixels(images: list[torch.Tensor], count: int) -> list[torch.Tensor]:
    """The first images of a set with so many pixels in all, to a row; the last of them is cut."""
    taken = []
    for image in images:
        rows = min(image.shape[1], round(count / image.shape[2]))
        if rows < 1:
            break
        taken.append(image[:, :rows])
        count -= rows * image.shape[2]
    return taken


def worth(data: Path) -> dict[str, Any]:
    """Coverage by set, by whose half-widths they are, and by band."""
    opened = open_model(DEFAULT_MODEL)
    bands = opened.card.bands or ()
    sensor = sensor_of(bands, transfers_of(bands, opened.card))
    subject = contender(opened, bands, sensor)
    assert subject.level is not None
    kept: dict[str, tuple[list[torch.Tensor], ...]] = {}
    for which in SETS:
        truths = read_images(which, data, bands)
        results = [subject.run(lr) for lr in observe(truths, sensor)]
        widths = [one.half_width for one in results if one.half_width is not None]
        images = [one.image for one in results]
        errors = [(image - truth).abs() for image, truth in zip(images, truths, strict=True)]
        kept[which.name] = (images, widths, oracle(errors, subject.level), truths)
    least = min(sum(one[0].numel() for one in lists[3]) for lists in kept.values())
    together = tuple([one for lists in kept.values() for one in first_pixels(lists[i], least)] for i in range(4))
    return {
        name: {
            who: {band: asdict(one) for band, one in measure_coverage(images, given, truths, bands).items()}
            for who, given in ((DEFAULT_MODEL, widths), ("oracle", known))
        }
        for name, (images, widths, known, truths) in {**kept, "all sets": together}.items()
    }


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--side", type=int, default=600, help="of the command's scene, pixels")
    arguments = parser.parse_args()
    card = read_card(DEFAULT_MODEL)
    model = build(card, [None] * 4)
    assert model.network is not None
    model.network.to(memory_format=torch.channels_last)
    lr = torch.rand(1, 4, 256 + 2 * card.halo_px, 256 + 2 * card.halo_px)
    with torch.inference_mode():
        without, within = alternate(lambda: model(lr), lambda: model.with_half_width(lr), arguments.repeats)

    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "scene.tif", Path(folder) / "out.tif"
        write_scene(source, arguments.side)
        command = [sys.executable, "-m", "geosr", "upscale", str(source), "-o", str(output), "-q", "--overwrite"]

        def upscale(*options: str) -> None:
            for made in Path(folder).glob("out*"):
                made.unlink()
            subprocess.run([*command, *options], check=True, capture_output=True)

        plain, estimated = alternate(upscale, lambda: upscale("--uncertainty"), max(1, arguments.repeats // 3))
    keep(
        "uncertainty",
        command_of(parser, arguments),
        {
            "model": DEFAULT_MODEL,
            "coverage": worth(arguments.data),
            "seconds": {
                "pass": {
                    "without": round(without, 4),
                    "with": round(within, 4),
                    "ratio": round(within / without, 3),
                },
                "command": {
                    "side_px": arguments.side,
                    "without": round(plain, 2),
                    "with": round(estimated, 2),
                    "ratio": round(estimated / plain, 3),
                },
            },
        },
    )


if __name__ == "__main__":
    main()
