"""High-resolution imagery in memory, and batches of patches drawn from it.

A batch depends on the configuration's seed and the step alone, so that a resumed run sees what an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window
from torch import Tensor
from torch.nn import functional as F

from catalog.sensors import role_of
from geosr.configuration import find_files
from geosr.errors import TrainingError
from geosr.training.augmentation import brighten, calm, compress
from geosr.training.config import Pairs, Source, TrainingConfig
from geosr.training.degrade import degrade, misregister
from geosr.training.pair_sets import read_pair_set
from geosr.training.patch_places import draw_place, measured_part
from geosr.training.random_draws import chance
from geosr.training.second_order import REACH_LR_PX, degrade_twice

#: LR pixels cut from each side of a degraded patch, so that its blur never saw the patch's edge.
_MARGIN_LR_PX = 3

#: LR pixels around bright spots that interpolation and the sensor's blur reach.
_AROUND_SPOTS = 4

#: Roles of the bands that colour images have not got, see :mod:`catalog.sensors`.
_INFRARED = {"rededge071", "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22"}


@dataclass(frozen=True)
class PairCanvas:
    """Reflectance of two sensors, ``(bands, rows, cols)`` and the same four times finer."""

    lr: Tensor
    hr: Tensor
    places: tuple[tuple[int, int], ...] | None = None
    """First LR row and column of the patches that may be taken; None for any."""
    slack_hr_px: int = 0
    """By how much the truth may be off."""
    measured: Tensor | None = None
    """LR pixels that both sensors measured, ``(rows, cols)``; None for all."""


@dataclass(frozen=True)
class Canvas:
    """Reflectance ``(bands, rows, cols)``: one image, or many small ones side by side."""

    pixels: Tensor
    reduce: int
    """Blocks of this side are averaged; where they begin is a matter of chance."""
    gain: tuple[float, float]
    band_gain: float
    measured: Tensor | None = None
    """Pixels that were measured, ``(rows, cols)``; None for all."""


class Batch(NamedTuple):
    """Patches for one step, in units of the reference reflectance."""

    lr: Tensor
    """Low resolution, ``(n, bands, rows, cols)``."""
    hr: Tensor
    """High resolution, ``(n, bands, scale rows, scale cols)``."""
    gain: Tensor
    """Gain of each patch, ``(n, 1, 1, 1)``."""
    noise_limits: Tensor
    """Bound of the estimate of each patch's and band's noise, ``(n, bands, 1, 1)``."""
    quiet: Tensor
    """1 where a patch has nothing to do with bright spots and 0 around them, ``(n, 1, scale rows, scale cols)``."""


class PatchSampler:
    """Draws batches of low- and high-resolution patches, in units of the reference reflectance."""

    def __init__(self, config: TrainingConfig, data: Path) -> None:
        self._config = config
        self._margin = _MARGIN_LR_PX if config.second_order is None else REACH_LR_PX
        self._side = (config.patch_lr_px + 2 * self._margin) * config.scale + 2 * config.degradation.shift_hr_px
        self._visible, self._infrared = visible_and_infrared(config)
        self._canvases: list[Canvas | PairCanvas] = []
        weights: list[float] = []
        for source in config.sources:
            names = [str(path) for path in find_source(source, data)]
            images = read_source(source, config, data)
            joined: list[Tensor] = []
            for factor, share in source.reduce.items():
                side = self._side * factor
                fits = all(min(image.shape[1:]) >= side for image in images)
                if not fits and not joined:
                    joined = [_side_by_side(images, self._side * max(source.reduce))]
                canvases = images if fits else joined
                area = torch.tensor([float(c.shape[1] * c.shape[2]) for c in canvases])
                self._canvases += [
                    Canvas(c, factor, source.gain, source.band_gain, measured_part(name, c, side))
                    for name, c in zip(names if fits else [source.glob], canvases, strict=True)
                ]
                weights += (share * area / area.sum()).tolist()
        for pairs in config.pairs:
            joint = read_pairs(pairs, config, data)
            self._canvases += joint
            weights += [pairs.share / len(joint)] * len(joint)
        for pair_set in config.pair_sets:
            patches = read_pair_set(pair_set, config, data)
            self._canvases += [PairCanvas(lr, hr, tuple(at), pair_set.slack_hr_px) for lr, hr, at in patches]
            weights += [pair_set.share / len(patches)] * len(patches)
        self._weights = torch.tensor(weights)
        self._reference = torch.tensor(config.reference_reflectance).reshape(1, -1, 1, 1)

    def batch(self, step: int) -> Batch:
        """Draw the patches of one step."""
        config = self._config
        rng, chosen = self._choose(step)
        gains = torch.ones(config.batch, 1, 1, 1)
        patches, measured = [], {}
        plain = torch.zeros(config.batch, dtype=torch.bool)
        for i, index in enumerate(chosen):
            canvas = self._canvases[index]
            if isinstance(canvas, PairCanvas):
                measured[i] = self._pair(canvas, rng)
                patches.append(torch.zeros(len(config.bands), self._side, self._side))
                continue
            low, high = np.log(canvas.gain)
            gain = float(np.exp(low + (high - low) * _uniform(rng)))
            gains[i] = gain
            spread = 1 + canvas.band_gain * (2 * torch.rand(len(config.bands), 1, 1, generator=rng) - 1)
            patch, plain[i] = self._patch(canvas, rng)
            patches.append(patch * gain * spread)
        hr = calm(misregister(torch.stack(patches), config.degradation, rng), config.augmentation, rng)
        again = config.noise_pairs
        if again:
            for one in (hr, gains, plain):
                one[-again:] = one[-2 * again : -again].clone()
        hr, quiet = brighten(hr, config.augmentation, rng, _AROUND_SPOTS * config.scale)
        if config.second_order is None:
            lr = degrade(hr, config.scale, config.degradation, rng, again)
        else:
            lr = degrade_twice(hr, config.scale, config.second_order, rng)
        for i in torch.nonzero(plain).flatten().tolist():
            if chance(config.augmentation.jpeg, rng):
                lr[i] = compress(lr[i], self._visible, config.augmentation, rng)
        lr = _crop(lr, self._margin)
        hr, quiet = (_crop(one, self._margin * config.scale) for one in (hr, quiet))
        for i, (low_pair, high_pair) in measured.items():
            lr[i], hr[i] = low_pair, high_pair
        limits = torch.full((config.batch, 1, 1, 1), config.noise_limit)
        limits[plain] = config.plain_image_noise_limit
        return Batch(lr / self._reference, hr / self._reference, gains, limits / self._reference, quiet)

    def slack_hr_px(self, step: int) -> list[int]:
        """HR pixels by which the truth of each patch of a step may be off (:mod:`geosr.training.shift_tolerance`)."""
        canvases = (self._canvases[index] for index in self._choose(step)[1])
        return [canvas.slack_hr_px if isinstance(canvas, PairCanvas) else 0 for canvas in canvases]

    def _choose(self, step: int) -> tuple[torch.Generator, list[int]]:
        """A step's chance, and the canvases that it takes patches from."""
        rng = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        chosen = torch.multinomial(self._weights, self._config.batch, replacement=True, generator=rng)
        return rng, chosen.tolist()

    def _pair(self, canvas: PairCanvas, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        side, scale = self._config.patch_lr_px, self._config.scale
        _, rows, cols = canvas.lr.shape
        if canvas.places is None:
            y, x = draw_place((rows, cols), side, canvas.measured, rng)
        else:
            y, x = canvas.places[int(_uniform(rng) * len(canvas.places))]
        lr = canvas.lr[:, y : y + side, x : x + side]
        hr = canvas.hr[:, scale * y : scale * (y + side), scale * x : scale * (x + side)]
        flips = [_uniform(rng) < 0.5 for _ in range(3)]
        return turned(lr, flips), turned(hr, flips)

    def _patch(self, canvas: Canvas, rng: torch.Generator) -> tuple[Tensor, bool]:
        """One patch, and if it is a plain image: without infrared, or grey."""
        _, rows, cols = canvas.pixels.shape
        side = self._side * canvas.reduce
        y, x = draw_place((rows, cols), side, canvas.measured, rng)
        patch = reduce_by_area(canvas.pixels[:, y : y + side, x : x + side], canvas.reduce)
        patch = turned(patch, [_uniform(rng) < 0.5 for _ in range(3)])
        return self._drop_bands(patch, rng)

    def _drop_bands(self, patch: Tensor, rng: torch.Generator) -> tuple[Tensor, bool]:
        if _uniform(rng) >= self._config.missing_bands or len(patch) == 1:
            return patch, False
        visible, infrared = self._visible, self._infrared
        if infrared and _uniform(rng) < 0.5:
            coloured = patch.clone()
            coloured[infrared] = patch[visible].mean(dim=0)
            return coloured, True
        return patch[visible[int(_uniform(rng) * len(visible))]].expand_as(patch), True


def visible_and_infrared(config: TrainingConfig) -> tuple[list[int], list[int]]:
    """Positions of the bands that a plain image may show, and of those that it has not got, by names and descriptions.

    Bands that are not known are taken for visible; where none is, all are, as then there is nothing to tell apart.
    """
    infrared = [
        index
        for index, band in enumerate(config.bands)
        if any(role_of(name, None) in _INFRARED for name in (band, *config.descriptions[band]))
    ]
    visible = [index for index in range(len(config.bands)) if index not in infrared]
    return (visible, infrared) if visible else (infrared, [])


def find_source(source: Source, data: Path) -> list[Path]:
    """A source's files, in the order of their names. Raises :class:`TrainingError` when there is none."""
    found = find_files(data, source.glob, TrainingError)
    paths = [path for path in found if not any(fnmatch(path.name, one) for one in source.exclude)]
    if not paths:
        raise TrainingError(f"no imagery matches {source.glob} in {data}")
    return paths


def read_source(source: Source, config: TrainingConfig, data: Path) -> list[Tensor]:
    """All images of a source: reflectance ``(bands, rows, cols)`` in the configuration's band order.

    Pixels without measurement in any of the bands are NaN in all.
    """
    return [_read(path, config, source.full_scale, source.rows) for path in find_source(source, data)]


def read_whole_source(source: Source, config: TrainingConfig, data: Path) -> list[Tensor]:
    """Read whole imagery that figures are of. Raises :class:`TrainingError` where a pixel was not measured."""
    images = read_source(source, config, data)
    for path, image in zip(find_source(source, data), images, strict=True):
        _check_whole(path, image)
    return images


def read_pairs(pairs: Pairs, config: TrainingConfig, data: Path) -> list[PairCanvas]:
    """All pairs of two sensors. Raises :class:`TrainingError` when they do not fit one another."""
    lows, highs = (find_files(data, pattern, TrainingError) for pattern in (pairs.lr, pairs.hr))
    if not lows or len(lows) != len(highs):
        raise TrainingError(
            f"{len(lows)} files match {pairs.lr} in {data} and {len(highs)} match {pairs.hr}: each needs its other"
        )
    canvases = []
    for low, high in zip(lows, highs, strict=True):
        lr, hr = (_read(path, config, pairs.full_scale) for path in (low, high))
        if tuple(hr.shape[1:]) != tuple(config.scale * side for side in lr.shape[1:]):
            raise TrainingError(f"{high} has not exactly {config.scale} times the rows and columns of {low}")
        if min(lr.shape[1:]) < config.patch_lr_px:
            raise TrainingError(f"{low} is smaller than a patch of {config.patch_lr_px} pixels")
        # NaN as soon as one of a block's pixels is: only where both were measured is there a pair.
        both = lr + reduce_by_area(hr, config.scale)
        canvases.append(PairCanvas(lr, hr, measured=measured_part(str(low), both, config.patch_lr_px)))
    return canvases


def _read(path: Path, config: TrainingConfig, full_scale: float, rows: tuple[float, float] = (0, 1)) -> Tensor:
    """Reflectance of a part of a file, its bands found by their descriptions; NaN where one was not measured."""
    try:
        with rasterio.open(path) as raster:
            indexes = [_band_index(raster.descriptions, config.descriptions[band], path) for band in config.bands]
            top, bottom = (round(part * raster.height) for part in rows)
            window = Window(0, top, raster.width, bottom - top)
            return _reflectance(raster, indexes, full_scale, window)
    except RasterioError as error:
        raise TrainingError(f"cannot read {path}: {error}") from error


def read_bands(path: Path, bands: Sequence[str], full_scale: float) -> Tensor:
    """Reflectance ``(bands, rows, cols)`` of a file's bands of these descriptions.

    Raises :class:`TrainingError` where one is missing, or was not measured.
    """
    try:
        with rasterio.open(path) as raster:
            indexes = [_band_index(raster.descriptions, (band,), path) for band in bands]
            image = _reflectance(raster, indexes, full_scale)
    except RasterioError as error:
        raise TrainingError(f"cannot read {path}: {error}") from error
    _check_whole(path, image)
    return image


def _reflectance(raster: DatasetReader, indexes: list[int], full_scale: float, window: Window | None = None) -> Tensor:
    pixels = raster.read(indexes, window=window).astype(np.float32) / full_scale
    measured = (raster.read_masks(indexes, window=window) > 0).all(axis=0) & np.isfinite(pixels).all(axis=0)
    pixels[:, ~measured] = np.nan
    return torch.from_numpy(pixels)


def _check_whole(path: Path, image: Tensor) -> None:
    if not image.isfinite().all():
        raise TrainingError(
            f"{path} has pixels without data, which only imagery that patches are drawn from may have: cut out a part "
            "that has none, or leave it out"
        )


def reduce_by_area(image: Tensor, factor: int) -> Tensor:
    """Average blocks of ``factor × factor`` pixels; a remainder at the lower and right edges is dropped."""
    return image if factor == 1 else F.avg_pool2d(image[None], factor)[0]


def whole_blocks(image: Tensor, scale: int) -> Tensor:
    """The image without the rows and columns that are less than a block of ``scale``."""
    return image[:, : image.shape[1] // scale * scale, : image.shape[2] // scale * scale]


def _side_by_side(images: list[Tensor], side: int) -> Tensor:
    """Images of equal size in one, of at least this side."""
    rows, cols = images[0].shape[1:]
    images = [image for image in images if image.shape[1:] == (rows, cols)]
    across = max(int(np.sqrt(len(images))), -(-side // cols))
    down = len(images) // across
    if down * rows < side:
        raise TrainingError(f"{len(images)} images of {rows}×{cols} pixels are too few for patches of {side}")
    strips = [torch.cat(images[i * across : (i + 1) * across], dim=2) for i in range(down)]
    return torch.cat(strips, dim=1)


def _band_index(descriptions: tuple[str | None, ...], names: tuple[str, ...], path: Path) -> int:
    for index, description in enumerate(descriptions, start=1):
        if description in names:
            return index
    raise TrainingError(f"{path} has no band described as {' or '.join(names)}: its bands are {descriptions}")


def turned(patch: Tensor, flips: list[bool]) -> Tensor:
    """Flipped along columns, along rows, and transposed, as told."""
    if flips[0]:
        patch = patch.flip(-1)
    if flips[1]:
        patch = patch.flip(-2)
    return patch.transpose(-1, -2) if flips[2] else patch


def _crop(image: Tensor, margin: int) -> Tensor:
    return image[..., margin:-margin, margin:-margin].contiguous()


def _uniform(rng: torch.Generator) -> float:
    return float(torch.rand((), generator=rng))
