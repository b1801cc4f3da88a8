"""Split-conformal calibration of the half-widths: what they are multiplied by, so that they hold.

The factor of a band is the quantile of ``|error| / half-width`` over imagery that was neither trained on nor tested
on (Lei et al., "Distribution-Free Predictive Inference for Regression", 2018, section 2). The largest of all kinds of
imagery is taken: what a user brings is of no known kind, and a half-width is better too wide than too narrow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosr.evaluate.contenders import of_generator
from geosr.evaluate.held_out import observe
from geosr.model.card import Calibration
from geosr.model.generator import Generator
from geosr.training.config import TrainingConfig
from geosr.training.data import read_source, reduce_by_area, whole_blocks


def calibrate(model: Generator, config: TrainingConfig, halo_px: int, data: Path, command: str) -> Calibration:
    """Measure the factors of a model whose own are 1, on ``config.calibration``."""
    subject = of_generator(
        config.name, model, config.bands, config.reference_reflectance, halo_px, level=config.interval
    )
    ratios: dict[str, list[NDArray[np.float32]]] = {}
    for source in config.calibration:
        images = read_source(source, config, data)
        for factor in source.reduce:
            truths = [whole_blocks(reduce_by_area(image, factor), config.scale) for image in images]
            found = ratios.setdefault(f"{source.glob}, averaged by {factor}" if factor > 1 else source.glob, [])
            for truth, lr in zip(truths, observe(truths, model.sensor), strict=True):
                result = subject.run(lr)
                assert result.half_width is not None
                ratio = (result.image - truth).abs() / result.half_width
                found.append(ratio.reshape(len(config.bands), -1).numpy())
    kinds = [np.concatenate(parts, axis=1) for parts in ratios.values()]
    return Calibration(
        level=config.interval,
        factors=tuple(
            round(max(conformal_quantile(kind[band], config.interval) for kind in kinds), 4)
            for band in range(len(config.bands))
        ),
        data={name: kind.shape[1] for name, kind in zip(ratios, kinds, strict=True)},
        command=command,
    )


def conformal_quantile(scores: NDArray[np.float32], level: float) -> float:
    """The score that a share ``level (n + 1) / n`` does not exceed; one more stays below it with chance ``level``."""
    share = min(1.0, level * (len(scores) + 1) / len(scores))
    return float(np.quantile(scores, share, method="inverted_cdf"))
