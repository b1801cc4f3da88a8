"""High-resolution imagery in memory, and batches of patches drawn from it.

A batch depends on the configuration's seed and the step alone, so that a resumed run sees what an undisturbed one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor
from torch.nn import functional as F

from geosr.training.config import Source, TrainingConfig
from geosr.training.degrade import degrade, misregister

#: LR pixels cut from each side of a degraded patch, so that its blur never saw the patch's edge.
_MARGIN_LR_PX = 3


@dataclass(frozen=True)
class Canvas:
    """Reflectance ``(bands, rows, cols)``: one image, or many small ones side by side."""

    pixels: Tensor
    reduce: int
    """Blocks of this side are averaged; where they begin is a matter of chance."""
    gain: tuple[float, float]
    band_gain: float


class PatchSampler:
    """Draws batches of low- and high-resolution patches, in units of the reference reflectance."""

    def __init__(self, config: TrainingConfig, data: Path) -> None:
        self._config = config
        self._side = (config.patch_lr_px + 2 * _MARGIN_LR_PX) * config.scale + 2 * config.degradation.shift_hr_px
        self._canvases: list[Canvas] = []
        weights: list[float] = []
        for source in config.sources:
            images = read_source(source, config, data)
            joined: list[Tensor] = []
            for factor, share in source.reduce.items():
                fits = all(min(image.shape[1:]) >= self._side * factor for image in images)
                if not fits and not joined:
                    joined = [_side_by_side(images, self._side * max(source.reduce))]
                canvases = images if fits else joined
                area = torch.tensor([float(c.shape[1] * c.shape[2]) for c in canvases])
                self._canvases += [Canvas(c, factor, source.gain, source.band_gain) for c in canvases]
                weights += (share * area / area.sum()).tolist()
        self._weights = torch.tensor(weights)
        self._reference = torch.tensor(config.reference_reflectance).reshape(1, -1, 1, 1)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Low resolution, high resolution, and each patch's gain ``(n, 1, 1, 1)``, for one step."""
        config = self._config
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        chosen = torch.multinomial(self._weights, config.batch, replacement=True, generator=rng)
        gains = torch.empty(config.batch, 1, 1, 1)
        patches = []
        for i, index in enumerate(chosen.tolist()):
            canvas = self._canvases[index]
            low, high = np.log(canvas.gain)
            gain = float(np.exp(low + (high - low) * _uniform(rng)))
            gains[i] = gain
            spread = 1 + canvas.band_gain * (2 * torch.rand(len(config.bands), 1, 1, generator=rng) - 1)
            patches.append(self._patch(canvas, rng) * gain * spread)
        hr = misregister(torch.stack(patches), config.degradation, rng)
        lr = degrade(hr, config.scale, config.degradation, rng)
        lr = _crop(lr, _MARGIN_LR_PX)
        hr = _crop(hr, _MARGIN_LR_PX * config.scale)
        return lr / self._reference, hr / self._reference, gains

    def _patch(self, canvas: Canvas, rng: torch.Generator) -> Tensor:
        _, rows, cols = canvas.pixels.shape
        side = self._side * canvas.reduce
        y = int(_uniform(rng) * (rows - side + 1))
        x = int(_uniform(rng) * (cols - side + 1))
        patch = reduce_by_area(canvas.pixels[:, y : y + side, x : x + side], canvas.reduce)
        if _uniform(rng) < 0.5:
            patch = patch.flip(-1)
        if _uniform(rng) < 0.5:
            patch = patch.flip(-2)
        if _uniform(rng) < 0.5:
            patch = patch.transpose(-1, -2)
        return self._drop_bands(patch, rng)

    def _drop_bands(self, patch: Tensor, rng: torch.Generator) -> Tensor:
        if _uniform(rng) >= self._config.missing_bands:
            return patch
        visible = patch[:-1]
        if _uniform(rng) < 0.5:
            return torch.cat([visible, visible.mean(dim=0, keepdim=True)])
        return visible[int(_uniform(rng) * len(visible))].expand_as(patch)


def read_source(source: Source, config: TrainingConfig, data: Path) -> list[Tensor]:
    """All images of a source: reflectance ``(bands, rows, cols)`` in the configuration's band order."""
    paths = [p for p in sorted(data.glob(source.glob)) if not any(fnmatch(p.name, one) for one in source.exclude)]
    if not paths:
        raise FileNotFoundError(f"no training imagery matches {source.glob} in {data}")
    images = []
    for path in paths:
        with rasterio.open(path) as raster:
            indexes = [_band_index(raster.descriptions, config.descriptions[band], path) for band in config.bands]
            top, bottom = (round(part * raster.height) for part in source.rows)
            window = Window(0, top, raster.width, bottom - top)
            pixels = raster.read(indexes, window=window).astype(np.float32) / source.full_scale
        images.append(torch.from_numpy(pixels))
    return images


def reduce_by_area(image: Tensor, factor: int) -> Tensor:
    """Average blocks of ``factor × factor`` pixels; a remainder at the lower and right edges is dropped."""
    return image if factor == 1 else F.avg_pool2d(image[None], factor)[0]


def _side_by_side(images: list[Tensor], side: int) -> Tensor:
    """Images of equal size in one, of at least this side."""
    rows, cols = images[0].shape[1:]
    images = [image for image in images if image.shape[1:] == (rows, cols)]
    across = max(int(np.sqrt(len(images))), -(-side // cols))
    down = len(images) // across
    if down * rows < side:
        raise ValueError(f"{len(images)} images of {rows}×{cols} pixels are too few for patches of {side}")
    strips = [torch.cat(images[i * across : (i + 1) * across], dim=2) for i in range(down)]
    return torch.cat(strips, dim=1)


def _band_index(descriptions: tuple[str | None, ...], names: tuple[str, ...], path: Path) -> int:
    for index, description in enumerate(descriptions, start=1):
        if description in names:
            return index
    raise ValueError(f"{path} has no band described as {' or '.join(names)}: its bands are {descriptions}")


def _crop(image: Tensor, margin: int) -> Tensor:
    return image[..., margin:-margin, margin:-margin].contiguous()


def _uniform(rng: torch.Generator) -> float:
    return float(torch.rand((), generator=rng))
