"""Another date of the same place, predicted: a judge of detail that needs no image at high resolution.

Real dates are shifted by a fraction of a pixel against each other, so each samples the ground at other places. The
image of one date is upscaled, moved by the shift between both, and seen through the sensor: the share of the other
date's detail that this leaves over is the figure. What changed on the ground, and the other date's noise, are left over
by every model; compare models on the same pairs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize
from torch import Tensor

from catalog.gdal import open_raster
from catalog.sentinel2 import band_name
from geosr.errors import UsageError
from geosr.evaluate.contenders import SCALE
from geosr.evaluate.real.subject import VISIBLE, Subject, interpolation
from geosr.model.sensor import Sensor

_Pixels = NDArray[np.float64]
_Mask = NDArray[np.bool_]
_Strength = TypeVar("_Strength", int, float)

#: DN of pixels outside fields where a file does not say, and DN of reflectance 1.
_NODATA, _FULL_SCALE = 65535, 10_000

#: Dates farther apart, days, are not paired: fields grow.
_LONGEST_DAYS = 10

#: Pairs of which smoothed interpolation leaves more detail than this are of changed ground or clouds.
_MOST_LEFT = 0.25

#: Side of the window whose mean is no detail, and pixels kept from nodata, source pixels.
_WINDOW_PX, _INSIDE_PX = 9, 3

#: Fewer pixels of a pair say nothing.
_FEWEST_PX = 300

#: Smoothing with which pairs are chosen and shifts are found, source pixels.
_SMOOTHING_PX = 0.5

#: Shifts are sought from here, source pixels.
_STARTS = (-0.6, 0.0, 0.6)

#: Strengths of which the best is the bar: smoothing before interpolation, source pixels, and steps of back-projection.
SMOOTHINGS_PX = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
STEPS = (0, 1, 2, 3, 4, 6, 16)


@dataclass(frozen=True)
class DatedImage:
    """One date of a series."""

    when: date
    bands: tuple[str, ...]
    pixels: _Pixels
    """Reflectance ``(bands, rows, cols)``, filled from the nearest pixel where nothing was measured."""
    measured: _Mask
    """``(rows, cols)``."""


@dataclass(frozen=True)
class Pair:
    """Two dates of one place, the one to be predicted from the other."""

    series: str
    source: DatedImage
    target: DatedImage
    shift_px: tuple[float, float]
    """Shift of the source's content in the target, down and to the right, source pixels."""
    judged: _Mask
    """``(rows, cols)``."""


def read_series(folder: Path) -> list[DatedImage]:
    """The dates of one folder, ``YYYY-MM-DD.tif`` each. Raises :class:`UsageError` for a file that is no such date."""
    return [_read_date(path) for path in sorted(folder.glob("*.tif"))]


def find_pairs(data: Path) -> list[Pair]:
    """All pairs of near, clear dates in the folders of ``data``, with the shift of each.

    Raises :class:`UsageError` when there is none.
    """
    folders = sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    pairs = [pair for folder in folders for pair in _pairs_of(folder.name, read_series(folder))]
    if not pairs:
        raise UsageError(f"{data} holds no pairs of clear dates: it needs folders of YYYY-MM-DD.tif within ten days")
    return pairs


def left_over(subject: Subject, pairs: Iterable[Pair]) -> list[float]:
    """Share of the target's detail that the upscaled source does not predict, for each pair.

    Each date is upscaled once. The mean over the bands that the subject has.
    """
    made: dict[int, Tensor] = {}
    shares = []
    for pair in pairs:
        source, bands = pair.source, pair.source.bands
        if id(source) not in made:
            made[id(source)] = subject(torch.from_numpy(source.pixels.astype(np.float32)), bands)
        common = subject.common(bands)
        seen = seen_at(made[id(source)], pair.shift_px, subject.sensor(common))
        shares.append(share_left(seen, pair, [bands.index(one) for one in common]))
    return shares


def left_over_by_interpolation(pairs: Sequence[Pair], smoothing_px: float) -> list[float]:
    """As :func:`left_over`, of spline interpolation of the source smoothed by a Gaussian of so many pixels."""
    return [share_left(_moved(_smoothed(pair.source.pixels, smoothing_px), pair.shift_px), pair) for pair in pairs]


def best_smoothing(pairs: Sequence[Pair]) -> tuple[float, list[float]]:
    """The smoothing, pixels, with the least mean left over, and its shares."""
    return _best(SMOOTHINGS_PX, lambda one: left_over_by_interpolation(pairs, one))


def best_back_projection(pairs: Sequence[Pair], like: Subject) -> tuple[int, list[float]]:
    """The number of steps after bicubic interpolation with the least mean left over, and its shares."""
    return _best(STEPS, lambda one: left_over(interpolation(f"{one} steps", like, one), pairs))


def _best(
    strengths: Sequence[_Strength], shares_of: Callable[[_Strength], list[float]]
) -> tuple[_Strength, list[float]]:
    found = [(one, shares_of(one)) for one in strengths]
    return min(found, key=lambda pair: float(np.mean(pair[1])))


def _read_date(path: Path) -> DatedImage:
    try:
        when = date.fromisoformat(path.stem)
    except ValueError as error:
        raise UsageError(f"{path} is no date of a series: its name is to be YYYY-MM-DD.tif") from error
    with open_raster(str(path)) as raster:
        held = [band_name(text or "") for text in raster.descriptions]
        missing = [one for one in VISIBLE if one not in held]
        if missing:
            raise UsageError(f"{path} has no {', '.join(missing)}: a series needs {', '.join(VISIBLE)}")
        dn = raster.read([held.index(one) + 1 for one in VISIBLE])
        nodata = {_NODATA, 0 if raster.nodata is None else raster.nodata}
    measured: _Mask = np.asarray(~np.isin(dn, list(nodata)).any(axis=0))
    if not measured.any():
        raise UsageError(f"{path} has no pixel that was measured")
    nearest = ndimage.distance_transform_edt(~measured, return_distances=False, return_indices=True)
    pixels = dn[:, nearest[0], nearest[1]].astype(np.float64) / _FULL_SCALE
    return DatedImage(when, VISIBLE, pixels, measured)


def _pairs_of(name: str, dates: Sequence[DatedImage]) -> list[Pair]:
    found = []
    for source, target in permutations(dates, 2):
        if abs((source.when - target.when).days) > _LONGEST_DAYS or source.pixels.shape != target.pixels.shape:
            continue
        judged = ndimage.binary_erosion(
            source.measured & target.measured, np.ones((3, 3), dtype=bool), iterations=_INSIDE_PX
        )
        if judged.sum() < _FEWEST_PX:
            continue
        shift, left = _find_shift(Pair(name, source, target, (0.0, 0.0), judged))
        if left <= _MOST_LEFT:
            found.append(Pair(name, source, target, shift, judged))
    return found


def _find_shift(pair: Pair) -> tuple[tuple[float, float], float]:
    """The shift with which the smoothed source leaves least, and what it leaves."""
    smooth = _smoothed(pair.source.pixels, _SMOOTHING_PX)

    def cost(shift: NDArray[np.float64]) -> float:
        return share_left(_moved(smooth, (float(shift[0]), float(shift[1]))), pair)

    start = min((np.array((y, x)) for y in _STARTS for x in _STARTS), key=cost)
    simplex = start + np.array([(0, 0), (0.2, 0), (0, 0.2)])
    found = optimize.minimize(
        cost, start, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 1e-5, "initial_simplex": simplex}
    )
    return (float(found.x[0]), float(found.x[1])), float(found.fun)


def seen_at(sr: Tensor, shift_px: tuple[float, float], sensor: Sensor) -> _Pixels:
    """Move an upscaled image by a shift in source pixels, and see it through the sensor."""
    moved = _moved(sr.double().numpy(), (SCALE * shift_px[0], SCALE * shift_px[1]))
    return sensor.observe(torch.from_numpy(moved.astype(np.float32))[None])[0].double().numpy()


def _moved(image: _Pixels, shift_px: tuple[float, float]) -> _Pixels:
    return np.stack([ndimage.shift(band, shift_px, order=3, mode="nearest") for band in image])


def _smoothed(image: _Pixels, sigma_px: float) -> _Pixels:
    return image if sigma_px == 0 else np.stack([ndimage.gaussian_filter(band, sigma_px) for band in image])


def share_left(predicted: _Pixels, pair: Pair, chosen: Sequence[int] | None = None) -> float:
    """Mean over bands of the squared detail of the target that a multiple of the predicted one's leaves over."""
    both = pair.source.measured & pair.target.measured
    truth = pair.target.pixels if chosen is None else pair.target.pixels[list(chosen)]
    shares = []
    for guess, wanted in zip(_detail(predicted, both), _detail(truth, both), strict=True):
        a, b = guess[pair.judged], wanted[pair.judged]
        gain = (a @ b) / max(float(a @ a), 1e-12)
        shares.append(float(np.square(b - gain * a).sum() / max(float(b @ b), 1e-12)))
    return float(np.mean(shares))


def _detail(image: _Pixels, measured: _Mask) -> _Pixels:
    """The image without its mean over the measured pixels around."""
    weight = np.maximum(ndimage.uniform_filter(measured.astype(np.float64), _WINDOW_PX, mode="constant"), 1e-9)
    return np.stack(
        [
            band - ndimage.uniform_filter(np.where(measured, band, 0.0), _WINDOW_PX, mode="constant") / weight
            for band in image
        ]
    )
