"""One look at each date before anything is made: its shift, its radiometry, and how much its pixels are to count.

Rests on tiles spread over the scene. The reference is brought to the finer grid by back-projection, which needs no
network: what a date shows of it at other places is what registers and judges the date.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geosr.dates.sampling import LARGEST_DEPARTURE_PX, LEAST_DEPARTURE_PX, LONGEST_PX, Pixels, ShiftedSensor
from geosr.model.sensor import Sensor, upsample
from geosr.registration.align import measure_shift
from geosr.registration.harmonise import Line, harmonise
from geosr.registration.observed import Observed, observe
from geosr.registration.shift_surface import ShiftSurface, fit_surface

#: Side of a tile, source pixels; most tiles along one axis.
TILE_PX, TILES_A_SIDE = 64, 4

#: Source pixels on each side of a tile that registration needs, and steps of back-projection.
_MARGIN_PX, _STEPS = 3, 3

#: Bands that are registered: those with most detail, which the others follow.
_REGISTERED_BANDS = 2

#: Of a tile, the share of pixels that both dates measured; of a shift, the largest error, source pixels, and the least
#: correlation with which it counts.
_LEAST_MEASURED, _LARGEST_ERROR_PX, _LEAST_CORRELATION = 0.3, 0.15, 0.5

#: Tiles from which the field of shifts may slope.
_SLOPING_TILES = 9

#: Share of pixels that are the same in two dates from which they are one date.
_SAME = 0.9

#: Pixels by which a copy may be moved along an axis: as far as dates may be shifted.
_MOVES = (0, -1, 1)

#: Gains between which two dates show the same ground.
_GAINS = (0.3, 3.0)

#: Difference of the surroundings' reflectance from a tile's usual one that hides the ground.
_UNLIKE = 0.05

#: Side of the window whose mean is no detail, source pixels.
WINDOW_PX = 13

#: Share of the detail's variance that is left over where nothing has changed: the image's own error, from simulated
#: series.
_IMAGE_ERROR, _LEAST_SHARE = 0.012, 0.003

#: Weight of a date whose noise is as strong as the detail, see :mod:`geosr.dates.solve`: the variance of the image's
#: error over that of the detail. What a date of the same weeks leaves over is noise rather than change, and averages
#: out with the reference's own: it counts for more, by this at once and less by the days. The largest weight.
_WEIGHT, _NEAR_WEIGHT, _NEAR_DAYS, _MOST_WEIGHT = 0.8, 5.0, 20.0, 200.0

#: What is left over is at least this, reflectance.
_LEAST_NOISE = 3e-4

#: Median absolute deviation to standard deviation, of normal noise.
_MAD = 1.4826

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Tile:
    """One part of the scene in all dates."""

    top_px: int
    left_px: int
    pixels: Sequence[NDArray[np.floating]]
    """Reflectance ``(bands, rows, cols)`` of each date, the reference first; finite everywhere."""
    valid: Sequence[_Mask]
    """``(rows, cols)`` of each date."""


@dataclass(frozen=True)
class DateFit:
    """Position and radiometry of one date against the reference."""

    surface: ShiftSurface
    shift_px: tuple[float, float]
    """Its mean over the scene, source pixels: pixel ``p`` of the date shows what is at ``p + shift_px``."""
    lines: tuple[Line, ...]
    """For each band, from the date's reflectance to the reference's."""
    noise: tuple[float, ...]
    """Standard deviation of each band's difference from the reference, reflectance."""
    left_over: tuple[float, ...]
    """The square of that over the variance of the band's detail."""
    weight: tuple[float, ...] = ()
    """Weight of a pixel that shows no change, for each band."""
    varies_px: float = 0.0
    """Largest distance of a shift from ``shift_px`` along an axis, over the scene."""

    def departure(self, top_px: int, left_px: int, shape: tuple[int, int]) -> Pixels | None:
        """The shifts beyond ``shift_px`` of a window's pixels, ``(2, rows, cols)``; None where there are none."""
        if self.varies_px < LEAST_DEPARTURE_PX:
            return None
        rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float64) + 0.5
        down, across = self.surface.at(rows + top_px, cols + left_px)
        return np.stack([down - self.shift_px[0], across - self.shift_px[1]]).astype(np.float32)


@dataclass(frozen=True)
class Unused:
    """A date that takes no part."""

    reason: str
    twin: int | None = None
    """Number of the further date, from 0, whose pixels it has."""


@dataclass(frozen=True)
class Survey:
    """Fits of the further dates, in the order in which they were given."""

    dates: tuple[DateFit | Unused, ...]

    @property
    def used(self) -> list[tuple[int, DateFit]]:
        """Dates that take part, with their number."""
        return [(i, one) for i, one in enumerate(self.dates) if isinstance(one, DateFit)]


def tile_windows(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Windows of the tiles of a scene ``(rows, cols)``, evenly spread; fewer where it is small."""
    axes = []
    for side in shape:
        count = max(1, min(TILES_A_SIDE, side // TILE_PX))
        length = min(TILE_PX, side)
        starts = np.linspace(0, side - length, count) if count > 1 else np.array([(side - length) / 2])
        axes.append([slice(int(start), int(start) + length) for start in starts])
    return [(rows, cols) for rows in axes[0] for cols in axes[1]]


def survey_dates(
    tiles: Sequence[Tile],
    mtf_nyquist: Sequence[float],
    sensor: Sensor,
    shape: tuple[int, int],
    days_apart: Sequence[float | None] | None = None,
) -> Survey:
    """Register, harmonise and weigh every further date of the tiles.

    Parameters
    ----------
    tiles
        Parts of the scene, of the reference and the further dates.
    mtf_nyquist
        Modulation transfer of each band.
    sensor
        The blur of the bands.
    shape
        Rows and columns of the whole scene.
    days_apart
        Days between each further date and the reference; None where they are not known, of one date or of all.
    """
    sharp = [_sharpened(tile, sensor) for tile in tiles]
    count = len(tiles[0].pixels) if tiles else 0
    found: list[DateFit | Unused] = []
    for date in range(1, count):
        twin = next((other for other in range(date) if _same(tiles, date, other)), None)
        if twin is not None:
            name = "the reference" if twin == 0 else f"date {twin} of the others"
            found.append(Unused(f"its pixels are those of {name}", twin - 1 if twin else None))
            continue
        surface = _register(date, tiles, sharp, mtf_nyquist, sensor.scale)
        fit = _fit(date, tiles, sharp, sensor, surface, shape)
        found.append(
            fit if isinstance(fit, Unused) else _weighted(fit, None if days_apart is None else days_apart[date - 1])
        )
    return Survey(tuple(found))


def local_mean(image: NDArray[np.floating], use: _Mask) -> NDArray[np.float64]:
    """Mean of each band over the pixels ``use`` of the window around; 0 where there are none."""
    weight = ndimage.uniform_filter(use.astype(np.float64), WINDOW_PX, mode="constant")
    sums = [ndimage.uniform_filter(np.where(use, band, 0.0), WINDOW_PX, mode="constant") for band in image]
    return np.stack([np.where(weight > 1e-6, one / np.maximum(weight, 1e-6), 0.0) for one in sums])


def _sharpened(tile: Tile, sensor: Sensor) -> Pixels:
    """The reference's tile on the finer grid."""
    lr = torch.from_numpy(tile.pixels[0].astype(np.float32))[None]
    valid = torch.from_numpy(tile.valid[0].astype(np.float32))[None, None]
    with torch.inference_mode():
        image: Pixels = sensor.back_project(upsample(lr, sensor.scale), lr, valid, _STEPS)[0].numpy()
    return image


def _same(tiles: Sequence[Tile], date: int, other: int) -> bool:
    """Tell whether two dates have the same pixels, be they moved by one: copies hold nothing more."""
    return any(_same_moved(tiles, date, other, (down, across)) for down in _MOVES for across in _MOVES)


def _same_moved(tiles: Sequence[Tile], date: int, other: int, move: tuple[int, int]) -> bool:
    equal = total = 0
    for tile in tiles:
        rows, cols = tile.valid[0].shape
        here, there = zip(*map(_moved_slices, move, (rows, cols)), strict=True)
        both = tile.valid[date][here] & tile.valid[other][there]
        same = (tile.pixels[date][:, *here] == tile.pixels[other][:, *there]).all(axis=0)
        equal += int(same[both].sum())
        total += int(both.sum())
    return total > 0 and equal > _SAME * total


def _moved_slices(move: int, side: int) -> tuple[slice, slice]:
    """Pixels of two images along one axis, of which the second shows what the first does, moved."""
    return slice(max(0, -move), side - max(0, move)), slice(max(0, move), side - max(0, -move))


def _weighted(fit: DateFit, days: float | None) -> DateFit:
    """Turn the share of the detail that is left over into the weight of each band."""
    own = _WEIGHT + (0.0 if days is None else _NEAR_WEIGHT * math.exp(-abs(days) / _NEAR_DAYS))
    shares = [max(share - _IMAGE_ERROR, _LEAST_SHARE) for share in fit.left_over]
    return replace(fit, weight=tuple(min(own / share, _MOST_WEIGHT) for share in shares))


def _fit(
    date: int,
    tiles: Sequence[Tile],
    sharp: Sequence[Pixels],
    sensor: Sensor,
    surface: ShiftSurface | None,
    shape: tuple[int, int],
) -> DateFit | Unused:
    if surface is None:
        return Unused("no part of it shows the same ground as the reference")
    corners = surface.at(np.array([0.0, 0, shape[0], shape[0]]), np.array([0.0, shape[1], 0, shape[1]]))
    mean = surface.at(np.array([shape[0] / 2]), np.array([shape[1] / 2]))
    shift = (float(np.ravel(mean[0])[0]), float(np.ravel(mean[1])[0]))
    if max(map(abs, shift)) > LONGEST_PX:
        return Unused(f"it is shifted by {math.hypot(*shift):.1f} pixels, more than {LONGEST_PX:g}")
    varies = max(float(np.abs(one - centre).max()) for one, centre in zip(corners, shift, strict=True))
    if varies > LARGEST_DEPARTURE_PX:
        return Unused(f"its shift varies by {varies:.2f} pixels over the scene, more than {LARGEST_DEPARTURE_PX:g}")
    fit = _weigh(date, tiles, sharp, sensor, surface, shift)
    return fit if isinstance(fit, Unused) else replace(fit, varies_px=varies)


def _register(
    date: int, tiles: Sequence[Tile], sharp: Sequence[Pixels], mtf_nyquist: Sequence[float], scale: int
) -> ShiftSurface | None:
    places, shifts, errors = [], [], []
    for tile, image in zip(tiles, sharp, strict=True):
        rows, cols = tile.valid[0].shape
        margin = min(_MARGIN_PX, (min(rows, cols) - 1) // 4)
        inside = (slice(margin, rows - margin), slice(margin, cols - margin))
        valid = tile.valid[date] & ~_unlike(tile, date)
        if (tile.valid[0] & valid)[inside].mean() < _LEAST_MEASURED:
            continue
        bands = _strongest(tile)
        observed: Observed = observe(
            image[bands],
            tile.valid[0].repeat(scale, 0).repeat(scale, 1),
            [mtf_nyquist[one] for one in bands],
            scale,
            margin,
        )
        lr = tile.pixels[date][bands][:, inside[0], inside[1]].astype(np.float64)
        shift = measure_shift(lr, valid[inside], observed, min(LONGEST_PX + 0.5, margin))
        if shift.error_px > _LARGEST_ERROR_PX or shift.correlation < _LEAST_CORRELATION:
            continue
        places.append((tile.top_px + rows / 2, tile.left_px + cols / 2))
        shifts.append((shift.rows_px, shift.cols_px))
        errors.append(shift.error_px)
    order = 1 if len(places) >= _SLOPING_TILES else 0
    return fit_surface(np.array(places), np.array(shifts), errors, order)


def _unlike(tile: Tile, date: int) -> _Mask:
    """Clouds and shadow: pixels whose surroundings differ from the reference's by more than most of the tile's."""
    both = tile.valid[0] & tile.valid[date]
    mean = local_mean(tile.pixels[date] - tile.pixels[0], both)
    if not both.any():
        return ~both
    usual = np.median(mean[:, both], axis=1)[:, None, None]
    return np.asarray((np.abs(mean - usual) > _UNLIKE).any(axis=0))


def _strongest(tile: Tile) -> list[int]:
    """The bands of the reference with most detail beside their noise."""
    use = tile.valid[0]
    strength = []
    for band in tile.pixels[0]:
        rough = ndimage.laplace(band)[use].std()
        detail = (band - ndimage.uniform_filter(band, WINDOW_PX))[use].std()
        strength.append(float(detail / (rough + _LEAST_NOISE)) * float(detail))
    return sorted(np.argsort(strength)[::-1][:_REGISTERED_BANDS].tolist())


def _weigh(
    date: int,
    tiles: Sequence[Tile],
    sharp: Sequence[Pixels],
    sensor: Sensor,
    surface: ShiftSurface,
    shift: tuple[float, float],
) -> DateFit | Unused:
    sigmas = sensor.sigmas
    shifted = ShiftedSensor(sigmas, sensor.scale, shift)
    seen, pixels, use = [], [], []
    for tile, image in zip(tiles, sharp, strict=True):
        seen.append(shifted.observe(image).astype(np.float64))
        pixels.append(tile.pixels[date].astype(np.float64))
        rim = np.zeros(tile.valid[0].shape, dtype=bool)
        rim[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX] = True
        use.append(ndimage.binary_erosion(tile.valid[0] & tile.valid[date]) & rim)
    everywhere = np.concatenate([one.ravel() for one in use])
    if everywhere.sum() < 100:
        return Unused("too little of it was measured where the reference was")
    details, own_details = (
        [one - local_mean(one, where) for one, where in zip(images, use, strict=True)] for images in (seen, pixels)
    )
    gains = [
        1 / line.gain if line.gain > 0 else 0.0
        for line in harmonise(np.concatenate(own_details, 1), np.concatenate(details, 1), np.concatenate(use, 0))
    ]
    if not all(_GAINS[0] < gain < _GAINS[1] for gain in gains):
        return Unused("its ground is not the reference's: contrasts differ too much")
    levels, own_levels = (_inside(images, use) for images in (seen, pixels))
    lines = tuple(
        Line(gain, float(np.median(level - gain * own)))
        for gain, level, own in zip(gains, levels, own_levels, strict=True)
    )
    residuals = np.asarray(gains)[:, None] * _inside(own_details, use) - _inside(details, use)
    noise = _MAD * np.median(np.abs(residuals), axis=1)
    noise = np.maximum(noise, _LEAST_NOISE)
    detail = np.sqrt(np.mean(_inside(details, use) ** 2, axis=1))
    share = (noise / np.maximum(detail, _LEAST_NOISE)) ** 2
    return DateFit(surface, shift, lines, tuple(map(float, noise)), tuple(map(float, share)))


def _inside(images: Sequence[NDArray[np.floating]], use: Sequence[_Mask]) -> NDArray[np.floating]:
    """The used pixels of all tiles, ``(bands, pixels)``."""
    return np.concatenate([image[:, where] for image, where in zip(images, use, strict=True)], axis=1)


def on_line(pixels: NDArray[np.floating], lines: Sequence[Line]) -> NDArray[np.float64]:
    """A date's reflectance in the reference's radiometry."""
    return np.stack([line.gain * band + line.offset for band, line in zip(pixels, lines, strict=True)])
