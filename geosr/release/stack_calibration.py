"""Calibration of a stack's half-widths: the whole stack on scenes that runs left out, reduced by its whole ratio.

A scene's fine bands seen at 80 m and its coarse ones at 160 m are the input; its coarse bands at 20 m are the truth.
The fine bands' half-widths are those of the guide, and so is their calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from geosr.model.card import Calibration, ModelCard
from geosr.model.kernels import sensor_sigmas
from geosr.model.measured_fraction import NOISE
from geosr.model.sensor import Sensor
from geosr.model.stack import StackedGenerator, assemble, build_guide
from geosr.model.stack_uncertainty import StackUncertaintyEstimator
from geosr.model.zoo import read_card
from geosr.release.calibration import conformal_quantile
from geosr.training.reduced_scenes import StackConfig, read_scene

#: Share of pixels whose truth lies within the half-width.
LEVEL = 0.9

#: Left out on each side of a scene, pixels of the truth.
_BORDER_PX = 16


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and how it would have held."""

    calibration: Calibration
    coverage: dict[str, dict[str, float]]
    """By scene and band: the share of pixels within half-widths that were calibrated on the other scenes alone."""


def calibrate_stack(
    card: ModelCard, config: StackConfig, left_out: Mapping[str, Path], data: Path, command: str
) -> Calibrated:
    """Measure the factors of the coarse bands on each scene with the networks of the run that left it out."""
    assert card.stack is not None
    ratios = {name: _ratios(card, config, name, run, data) for name, run in left_out.items()}
    guide_card = read_card(card.stack.guide)
    own = guide_card.calibration
    fine = own.factors if own is not None else (1.0,) * card.stack.guides
    calibration = Calibration(
        level=LEVEL,
        factors=(*fine, *_factors(list(ratios.values()))),
        scene_exponent=0.0 if own is None else own.scene_exponent,
        data={f"{name}, 160 m to 20 m": one.shape[1] for name, one in ratios.items()},
        command=command,
    )
    coverage = {}
    for name, one in ratios.items():
        others = [ratio for other, ratio in ratios.items() if other != name]
        if others:
            factors = np.asarray(_factors(others))[:, None]
            coverage[name] = {
                band: float(share) for band, share in zip(config.bands, (one <= factors).mean(axis=1), strict=True)
            }
    return Calibrated(calibration, coverage)


def reduced_input(fine: Tensor, coarse: Tensor, config: StackConfig, ratio: int) -> tuple[Tensor, Tensor]:
    """A scene as the stack would meet it on a grid ``ratio`` times coarser, on one grid, and its coarse bands' truth.

    ``fine`` and ``coarse`` are in units of the reference; so are ``(1, bands, rows, cols)`` and the truth.
    """
    guides, bands = config.transfers()
    rows, cols = (side // ratio * ratio for side in coarse.shape[2:])
    truth = coarse[..., :rows, :cols]
    low = Sensor(sensor_sigmas(guides, ratio), ratio).observe(fine[..., : 2 * rows, : 2 * cols])
    lower = Sensor(sensor_sigmas(bands, ratio), ratio).observe(truth)
    rng = torch.Generator().manual_seed(0)
    parts = [
        image + NOISE / own * torch.randn(image.shape, generator=rng)
        for image, own in zip((low, lower), config.units(), strict=True)
    ]
    return torch.cat([parts[0], F.interpolate(parts[1], scale_factor=2, mode="nearest")], dim=1), truth


def _ratios(card: ModelCard, config: StackConfig, name: str, run: Path, data: Path) -> NDArray[np.float32]:
    """``|error| / half-width`` of each coarse band's pixels, ``(bands, pixels)``, uncalibrated."""
    scene = next(scene for scene in config.scenes if scene.name == name)
    model = _model_of(card, config, run)
    lr, truth = reduced_input(*read_scene(scene, config, data), config, model.sensor.scale)
    estimator = StackUncertaintyEstimator(
        model, config.reference_reflectance, (1.0,) * len(config.reference_reflectance)
    )
    with torch.inference_mode():
        made = model.make(lr)
        half_width = estimator.uncalibrated(made)[:, len(config.guides) :]
        image = F.pixel_shuffle(made.polyphase, model.scale)[:, len(config.guides) :]
    inside = slice(_BORDER_PX, -_BORDER_PX)
    ratio = ((image - truth).abs() / half_width)[0, :, inside, inside]
    return ratio.reshape(len(config.bands), -1).numpy()


def _model_of(card: ModelCard, config: StackConfig, run: Path) -> StackedGenerator:
    guide_card = read_card(config.guide)
    model = assemble(card, build_guide(guide_card, config.mtf_nyquist, len(config.guides)), guide_card)
    model.coarse.network.load_state_dict(load_file(run / "coarse.safetensors"))
    model.fine.network.load_state_dict(load_file(run / "fine.safetensors"))
    return model


def _factors(scenes: list[NDArray[np.float32]]) -> tuple[float, ...]:
    """One for each coarse band; each scene counts as much as any other."""
    return tuple(
        round(conformal_quantile([scene[band] for scene in scenes], LEVEL), 4) for band in range(len(scenes[0]))
    )
