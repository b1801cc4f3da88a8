"""Noise of an upscaled image: on calm ground of a real scene, and passed on from noise added to a clean source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from geosr.evaluate.real.subject import Subject

#: Calm water: infrared reflectance below, and (green - infrared) / (green + infrared) above.
_WATER_NIR, _WATER_INDEX = 0.015, 0.3

#: Source pixels that calm water keeps from its shore.
_FROM_SHORE_PX = 2

#: Standard deviation of the Gaussian that is taken off to leave grain, source pixels.
_GRAIN_SIGMA_PX = 2.0

#: Fewer pixels of calm ground say nothing.
FEWEST_CALM_PX = 500

#: Pixels of the source left out at the edges, where images are mirrored.
_BORDER_PX = 4


def calm_water(reflectance: Tensor, bands: Sequence[str]) -> NDArray[np.bool_]:
    """Open water away from its shore, ``(rows, cols)``; nothing where green or infrared is not among the bands."""
    if not {"B03", "B08"} <= set(bands):
        return np.zeros(reflectance.shape[1:], dtype=bool)
    green, infrared = (reflectance[bands.index(one)].double().numpy() for one in ("B03", "B08"))
    total = np.maximum(green + infrared, 1e-9)
    water = (infrared < _WATER_NIR) & ((green - infrared) / total > _WATER_INDEX)
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(water, iterations=_FROM_SHORE_PX)
    return eroded


def grain(image: Tensor, scale: int = 1) -> NDArray[np.float64]:
    """The image without what varies over more than two source pixels; ``scale`` is its pixels per source pixel."""
    pixels = image.double().numpy()
    sigma = _GRAIN_SIGMA_PX * scale
    return np.stack([band - ndimage.gaussian_filter(band, sigma) for band in pixels])


def noise_gain(sr: Tensor, lr: Tensor, calm: NDArray[np.bool_]) -> list[float]:
    """Deviation of the grain on calm ground, product over source, by band; NaN where too little of it is calm.

    ``sr`` is ``(bands, scale rows, scale cols)``, ``lr`` ``(bands, rows, cols)``, ``calm`` ``(rows, cols)``.
    """
    if calm.sum() < FEWEST_CALM_PX:
        return [float("nan")] * len(lr)
    scale = sr.shape[1] // lr.shape[1]
    fine = calm.repeat(scale, 0).repeat(scale, 1)
    return [
        float(made[fine].std() / source[calm].std()) for made, source in zip(grain(sr, scale), grain(lr), strict=True)
    ]


def passed_noise(subject: Subject, clean: Tensor, bands: Sequence[str], noise: float, seed: int = 1) -> list[float]:
    """By band, the root mean square by which noise added to a clean source changes the product, over the noise.

    ``clean`` is reflectance ``(bands, rows, cols)``, ``noise`` its standard deviation.
    """
    rng = torch.Generator().manual_seed(seed)
    noisy = clean + noise * torch.randn(clean.shape, generator=rng)
    change = subject(noisy, bands) - subject(clean, bands)
    margin = _BORDER_PX * (change.shape[1] // clean.shape[1])
    inside = change[:, margin:-margin, margin:-margin].double()
    return [float(one) / noise for one in inside.square().mean(dim=(1, 2)).sqrt()]
