"""The imagery that no model was trained on, seen through Sentinel-2's blur, and how well models bring it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.sentinel2 import band_name
from geosr.evaluate.metrics import effective_resolution_px, psnr, spectral_angle_deg
from geosr.model.generator import Generator

#: Standard deviation of the noise added to what the sensor observes, reflectance.
NOISE = 0.001

#: Chips of a mosaic on which the effective resolution is measured: one chip is too small for it.
_MOSAIC = (4, 5)


@dataclass(frozen=True)
class HeldOut:
    """One set of images, to be taken as the truth."""

    name: str
    glob: str
    full_scale: float
    """DN that stands for reflectance 1."""
    reduce: int = 1
    """Averaged blocks of the delivered pixels."""


#: Claremont is a city left out of NAIP, qb_c a scene left out of QuickBird, austria_b a date left out of Sentinel-2.
SETS = (
    HeldOut("claremont 0.6 m", "hr/naip_california/claremont_*.tif", 255),
    HeldOut("claremont 2.4 m", "hr/naip_california/claremont_*.tif", 255, reduce=4),
    HeldOut("qb_c 2.4 m", "hr/quickbird_toulouse/qb_c.tif", 800),
    HeldOut("austria_b 10 m", "s2/austria_b.tif", 10000),
)


@dataclass(frozen=True)
class Scores:
    """Means over the images of a set."""

    psnr_db: float
    spectral_angle_deg: float
    consistency: float
    """Mean absolute difference between the input and the result seen through the sensor, reflectance."""
    effective_resolution_lr_px: float | None
    """On a mosaic of the set, pixels of the input."""


def read_set(which: HeldOut, data: Path, bands: Sequence[str]) -> list[Tensor]:
    """Reflectance ``(bands, rows, cols)`` of each image, its sides multiples of 4.

    Raises ``FileNotFoundError`` when the folder does not hold the set.
    """
    images = []
    for path in sorted(data.glob(which.glob)):
        with rasterio.open(path) as raster:
            names = [band_name(text or "") for text in raster.descriptions]
            pixels = raster.read([names.index(band) + 1 for band in bands]).astype(np.float32)
        image = F.avg_pool2d(torch.from_numpy(pixels)[None] / which.full_scale, which.reduce)[0]
        images.append(image[:, : image.shape[1] // 4 * 4, : image.shape[2] // 4 * 4])
    if not images:
        raise FileNotFoundError(f"no imagery matches {which.glob} in {data}")
    return images


def observe(truths: Sequence[Tensor], model: Generator) -> list[Tensor]:
    """Each image as the sensor records it, with noise that is the same at every call."""
    rng = torch.Generator().manual_seed(0)
    observed = []
    for truth in truths:
        lr = model.sensor.observe(truth[None])[0]
        observed.append(lr + NOISE * torch.randn(lr.shape, generator=rng))
    return observed


def score(
    upscale: Callable[[Tensor], Tensor], truths: Sequence[Tensor], inputs: Sequence[Tensor], sensor_of: Generator
) -> Scores:
    """Scores of anything that upscales reflectance ``(bands, rows, cols)``."""
    results = [upscale(lr) for lr in inputs]
    consistency = [
        float((sensor_of.sensor.observe(sr[None])[0] - lr).abs().mean()) for sr, lr in zip(results, inputs, strict=True)
    ]
    pairs = list(zip(results, truths, strict=True))
    joined = (results[0], truths[0]) if len(results) == 1 else (_mosaic(results), _mosaic(truths))
    return Scores(
        psnr_db=float(np.mean([psnr(sr, hr) for sr, hr in pairs])),
        spectral_angle_deg=float(np.mean([spectral_angle_deg(sr, hr) for sr, hr in pairs])),
        consistency=float(np.mean(consistency)),
        effective_resolution_lr_px=effective_resolution_px(*joined) / sensor_of.scale,
    )


def whole_image(model: Generator, reference: Sequence[float], halo_px: int) -> Callable[[Tensor], Tensor]:
    """A model as a function of a whole reflectance image, mirrored at its edges as products are."""
    unit = torch.tensor(reference).reshape(-1, 1, 1)

    def upscale(lr: Tensor) -> Tensor:
        padded = np.pad(lr.numpy(), ((0, 0), (halo_px, halo_px), (halo_px, halo_px)), mode="symmetric")
        margin = halo_px * model.scale
        with torch.inference_mode():
            sr = model((torch.from_numpy(padded) / unit)[None])[0] * unit
        inside: Tensor = sr[:, margin : sr.shape[1] - margin, margin : sr.shape[2] - margin]
        return inside

    return upscale


def _mosaic(images: Sequence[Tensor]) -> Tensor:
    """The first images of equal size, side by side."""
    down, across = _MOSAIC
    if len(images) < down * across:
        return images[0]
    rows = [torch.cat(list(images[i * across : (i + 1) * across]), dim=2) for i in range(down)]
    return torch.cat(rows, dim=1)
