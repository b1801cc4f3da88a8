"""Split-conformal calibration of the half-widths: what they are multiplied by, so that they hold.

The factor of a band is the quantile of ``|error| / half-width`` over imagery that was neither trained on nor tested
on (Lei et al., "Distribution-Free Predictive Inference for Regression", 2018, section 2). Each kind of imagery counts
as much as any other, however many pixels there are of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosr.evaluate.contenders import of_generator
from geosr.evaluate.held_out import observe
from geosr.model.card import Calibration
from geosr.model.generator import Generator
from geosr.training.config import TrainingConfig
from geosr.training.data import read_whole_source, reduce_by_area, whole_blocks


def calibrate(model: Generator, config: TrainingConfig, halo_px: int, data: Path, command: str) -> Calibration:
    """Measure the factors of a model whose own are 1, on ``config.calibration``."""
    uncalibrated = Calibration(
        level=config.interval, factors=(1.0,) * len(config.bands), scene_exponent=config.scene_exponent
    )
    subject = of_generator(config.name, model, config.bands, config.reference_reflectance, halo_px, uncalibrated)
    ratios: dict[str, list[NDArray[np.float32]]] = {}
    for source in config.calibration:
        images = read_whole_source(source, config, data)
        for factor in source.reduce:
            truths = [whole_blocks(reduce_by_area(image, factor), config.scale) for image in images]
            found = ratios.setdefault(f"{source.glob}, averaged by {factor}" if factor > 1 else source.glob, [])
            for truth, lr in zip(truths, observe(truths, model.sensor), strict=True):
                result = subject.run(lr)
                assert result.half_width is not None
                ratio = (result.image - truth).abs() / result.half_width
                found.append(ratio.reshape(len(config.bands), -1).numpy())
    kinds = [np.concatenate(parts, axis=1) for parts in ratios.values()]
    return uncalibrated.model_copy(
        update={
            "factors": tuple(
                round(conformal_quantile([kind[band] for kind in kinds], config.interval), 4)
                for band in range(len(config.bands))
            ),
            "data": {name: kind.shape[1] for name, kind in zip(ratios, kinds, strict=True)},
            "command": command,
        }
    )


def conformal_quantile(kinds: Sequence[NDArray[np.float32]], level: float) -> float:
    """The score that a share ``level (n + 1) / n`` does not exceed; one more stays below it with chance ``level``.

    The share is the mean of those of the kinds; ``n`` is the number of scores of the smallest.
    """
    share = level * (1 + 1 / min(map(len, kinds)))
    scores = np.concatenate(kinds)
    weights = np.concatenate([np.full(len(kind), 1 / len(kind) / len(kinds)) for kind in kinds])
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    # Sums of many weights miss a share that they reach exactly by some rounding.
    first = int(np.searchsorted(reached, share - 1e-9))
    return float(scores[order[min(first, len(scores) - 1)]])
