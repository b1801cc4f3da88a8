"""Effect of a model's sharpness on held-out imagery: how sharp it looks, and what that costs.

Sharpness is measured without a reference; fidelity, consistency and false detail against the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geosr.evaluate.contenders import Opened, contender, sensor_of, transfers_of
from geosr.evaluate.correctness import correctness
from geosr.evaluate.held_out import SETS, observe, read_images
from geosr.evaluate.metrics import psnr
from geosr.model.card import ModelCard
from geosr.model.sensor import Sensor

#: What is measured by default: the model itself, and steps up to its visual weights alone.
SHARES = (0.0, 0.25, 0.5, 1.0)

#: Of the standard sets, the one nearest to the product in size of pixels, and Sentinel-2 itself.
SET_NAMES = ("claremont 2.4 m", "austria_b 10 m")

#: Sentinel-2's DN of reflectance 1.
_DN = 10_000


def detail_share(image: Tensor, scale: int) -> float:
    """Share of an image's power that is at frequencies which its source cannot hold: a measure of sharpness.

    ``image`` is ``(bands, rows, cols)``. Frequencies above the Nyquist frequency of pixels ``scale`` times larger count
    as detail, and the mean counts as nothing; over bands, after a Hann window. 0 for an image without any contrast.
    """
    _, rows, cols = image.shape
    window = torch.outer(*(torch.hann_window(side, periodic=False, dtype=torch.float64) for side in (rows, cols)))
    centred = image.double() - image.double().mean(dim=(1, 2), keepdim=True)
    power = torch.fft.fft2(centred * window).abs().square()
    frequency = torch.hypot(torch.fft.fftfreq(rows)[:, None], torch.fft.fftfreq(cols)[None, :])
    total = float(power.sum())
    return float(power[:, frequency > 0.5 / scale].sum()) / total if total else 0.0


def compare_sharpness(
    card: ModelCard, data: Path, shares: Sequence[float] = SHARES, count: int | None = None
) -> dict[str, dict[str, Any]]:
    """Figures by set and sharpness, means over a set's first ``count`` images; beside them the truth's detail.

    Raises :class:`geosr.errors.UsageError` for a model without visual weights or imagery that is missing.
    """
    bands = card.bands or ()
    sharpened = {share: card.sharpened(share) for share in shares}
    sensor = sensor_of(bands, transfers_of(bands, card))
    contenders = {share: contender(Opened(one), bands, sensor) for share, one in sharpened.items()}
    found: dict[str, dict[str, Any]] = {}
    for which in (one for one in SETS if one.name in SET_NAMES):
        truths = read_images(which, data, bands)[:count]
        inputs = observe(truths, sensor)
        found[which.name] = {
            "images": len(truths),
            "truth_detail_share": round(float(np.mean([detail_share(one, sensor.scale) for one in truths])), 5),
            "sharpness": {
                f"{share:g}": _mean(
                    [_figures(one.run(lr).image, lr, hr, sensor) for lr, hr in zip(inputs, truths, strict=True)]
                )
                for share, one in contenders.items()
            },
        }
    return found


def _figures(sr: Tensor, lr: Tensor, hr: Tensor, sensor: Sensor) -> dict[str, float]:
    return {
        "detail_share": detail_share(sr, sensor.scale),
        "psnr_db": psnr(sr, hr),
        "consistency_dn": float((sensor.observe(sr[None])[0] - lr).abs().mean()) * _DN,
        **asdict(correctness(sr.clone(), lr, hr)),
    }


def _mean(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.nanmean([one[name] for one in figures])), 5) for name in figures[0]}
