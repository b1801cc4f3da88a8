"""Two dates on one grid: reflectance of both in a window, the later one registered and brought to the earlier one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from catalog import BandSpec, Scene
from catalog.radiometry import reflectance_of
from geosr.errors import UsageError
from geosr.registration.align import measure_shift
from geosr.registration.harmonise import Line, harmonise
from geosr.registration.move import moved
from geosr.registration.observed import observe
from tiling import Location, fill_invalid, gdal_path

#: Side of the squares that the shift is measured in, source pixels, and the most squares along each axis.
_SQUARE_PX, _SQUARES = 64, 6

#: Source pixels around a square that the shift may reach into.
_MARGIN_PX = 4

#: Largest shift that is looked for, source pixels.
_MOST_SHIFT_PX = 2.0

#: Standard error up to which a square's shift counts, source pixels.
_SURE_PX = 0.1

#: Share of a square's pixels that both dates have to have measured.
_LEAST_MEASURED = 0.5

#: Gains that haze and light make between two dates. A line outside of them is that of a season, not of the atmosphere.
_GAINS = (0.8, 1.25)

#: Ratio of two dates' means from which on one of them has another scale.
_OTHER_SCALE = 10.0

#: Pixels around a window that interpolation of a shifted image needs.
_SPLINE_PX = 6


class Reader(Protocol):
    """One date's reflectance."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance ``(bands, rows, cols)`` and measured pixels ``(rows, cols)`` of a window inside the grid."""


@dataclass(frozen=True)
class ProductReader:
    """Bands of a product file, in the radiometry of its scene: the file need not declare a scale."""

    path: Location
    bands: tuple[BandSpec, ...]
    widths: bool = False
    """The file holds half-widths: no offset, and descriptions that end in ``half-width``."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        with rasterio.open(gdal_path(self.path)) as raster:
            names = [(name or "").removesuffix(" half-width") for name in raster.descriptions]
            indexes = [names.index(band.description or band.name) + 1 for band in self.bands]
            dn = raster.read(indexes, window=window)
            masks = raster.read_masks(indexes, window=window)
        return _reflectance(dn, self.bands, offset=not self.widths), np.logical_and.reduce(masks > 0, axis=0)


@dataclass(frozen=True)
class SceneReader:
    """Bands of a source, in windows of its area."""

    scene: Scene
    bands: tuple[str, ...]

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        area = self.scene.area
        moved = Window(area.col_off + window.col_off, area.row_off + window.row_off, window.width, window.height)
        dn, valid = self.scene.reader.read(moved)
        keep = [self.scene.names.index(band) for band in self.bands]
        specs = [self.scene.bands[i] for i in keep]
        return _reflectance(dn[keep], specs, offset=True), np.logical_and.reduce(valid[keep], axis=0)


def _reflectance(dn: NDArray[Any], bands: Sequence[BandSpec], *, offset: bool) -> NDArray[np.float32]:
    scales, offsets = [one.scale for one in bands], [one.offset if offset else 0.0 for one in bands]
    reflectance = reflectance_of(dn, scales, offsets, np.float64)
    made: NDArray[np.float32] = np.nan_to_num(reflectance, posinf=0.0, neginf=0.0).astype(np.float32)
    return made


@dataclass(frozen=True)
class Registration:
    """Position of the later date over the earlier one, and the line between their reflectances."""

    rows_px: float
    cols_px: float
    """Source pixels: pixel ``p`` of the later date shows what is at ``p + shift`` of the earlier one."""
    scatter_px: float
    """Median distance of the squares' shifts from it, source pixels."""
    squares: int
    """Squares that it was measured in; 0 where none was clear enough, and the dates are taken as they lie."""
    lines: tuple[Line, ...]
    """``later = gain * earlier + offset`` of each band."""

    @property
    def harmonised(self) -> bool:
        """True when the dates are brought to one radiometry."""
        return any((line.gain, line.offset) != (1.0, 0.0) for line in self.lines)

    def as_they_lie(self) -> Registration:
        """Keep the shift, and leave each date in its own radiometry."""
        return replace(self, lines=_unchanged(len(self.lines)))


def register(
    before: ProductReader,
    after: ProductReader,
    source: SceneReader,
    size: tuple[int, int],
    scale: int,
    mtf_nyquist: Sequence[float],
) -> Registration:
    """Measure shift and radiometry of the later date against the earlier one's product, seen through the sensor.

    The shift is that of the later source. The radiometry is compared between both products, each seen through the
    sensor: bands that the sensor sampled more coarsely than the source's grid are seen too sharply, but alike.

    Parameters
    ----------
    before, after
        Products of the earlier and of the later date, ``scale`` times finer.
    source
        Source of the later date.
    size
        Rows and columns of the source.
    scale
        Pixels of the product along a side of one of the source.
    mtf_nyquist
        Modulation transfer of each band at the source's Nyquist frequency.

    Returns
    -------
    Registration
        Medians over squares spread over the area; changed squares do not move a median.
    """
    shifts, lines, means = [], [], []
    for row, col, side in _squares(size):
        outer = (col - _MARGIN_PX, row - _MARGIN_PX, side + 2 * _MARGIN_PX, side + 2 * _MARGIN_PX)
        fine = Window(*(scale * v for v in outer))
        hr, seen = before.read(fine)
        lr, valid = source.read(Window(col, row, side, side))
        if min(seen.mean(), valid.mean()) < _LEAST_MEASURED:
            continue
        means.append(np.stack([one[:, known].mean(axis=1) for one, known in ((hr, seen), (lr, valid))]))
        observed = observe(hr, seen, mtf_nyquist, scale, _MARGIN_PX)
        values = np.where(valid, lr, 0).astype(np.float64)
        shift = measure_shift(values, valid, observed, _MOST_SHIFT_PX)
        if shift.error_px > _SURE_PX:
            continue
        shifts.append((shift.rows_px, shift.cols_px))
        earlier, known = observed.at(np.array(shifts[-1]))
        later, known_later = observe(*after.read(fine), mtf_nyquist, scale, _MARGIN_PX).at(np.zeros(2))
        lines.append(harmonise(later, earlier, valid & known & known_later))
    if means:
        _check_scales(means)
    if not shifts:
        return Registration(0.0, 0.0, math.nan, 0, _unchanged(len(mtf_nyquist)))
    rows, cols = np.median(np.array(shifts), axis=0)
    scatter = float(np.median(np.hypot(*(np.array(shifts) - (rows, cols)).T)))
    return Registration(float(rows), float(cols), scatter, len(shifts), _median_lines(lines))


def _squares(size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """First row and column and side of squares spread over an area."""
    side = min(_SQUARE_PX, *(length - 2 * _MARGIN_PX for length in size))
    if side < _SQUARE_PX // 4:
        raise UsageError(f"the area has {size[0]} x {size[1]} source pixels: too few to register two dates")
    starts = []
    for length in size:
        last = length - _MARGIN_PX - side
        count = min(_SQUARES, max(1, (last - _MARGIN_PX) // side + 1))
        starts.append(np.unique(np.linspace(_MARGIN_PX, last, count).astype(int)))
    for row in starts[0]:
        for col in starts[1]:
            yield int(row), int(col), side


def _median_lines(lines: Sequence[tuple[Line, ...]]) -> tuple[Line, ...]:
    """Line of each band; gain 1 and offset 0 for all where one is that of another season, as an index needs both."""
    made = tuple(
        Line(*(float(np.median([getattr(line, name) for line in band])) for name in ("gain", "offset")))
        for band in zip(*lines, strict=True)
    )
    return made if all(_GAINS[0] <= line.gain <= _GAINS[1] for line in made) else _unchanged(len(made))


def _unchanged(count: int) -> tuple[Line, ...]:
    return (Line(1.0, 0.0),) * count


def _check_scales(means: Sequence[NDArray[np.floating]]) -> None:
    """Refuse dates whose reflectance differs by more than any season's; ``means`` of both, ``(2, bands)`` each."""
    before, after = np.median(np.stack(means), axis=0)
    ratio = float(np.median(after / np.maximum(before, 1e-6)))
    if not 1 / _OTHER_SCALE < ratio < _OTHER_SCALE:
        raise UsageError(
            f"the dates' reflectance differs by a factor of {ratio:.2g}: they are not of one place, or one has another "
            "scale (--scale and --offset)"
        )


@dataclass(frozen=True)
class Registered:
    """The later date's reflectance on the earlier one's pixels and in its radiometry."""

    reader: Reader
    size: tuple[int, int]
    """Rows and columns of the grid."""
    shift_px: tuple[float, float]
    """Pixels of this grid: pixel ``p`` of the reader shows what is at ``p + shift`` here."""
    lines: tuple[Line, ...]
    offsets: bool = True
    """False for half-widths, which a line only scales."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        reach = _SPLINE_PX + math.ceil(max(map(abs, self.shift_px)))
        top, left = max(0, window.row_off - reach), max(0, window.col_off - reach)
        bottom = min(self.size[0], window.row_off + window.height + reach)
        right = min(self.size[1], window.col_off + window.width + reach)
        pixels, valid = self.reader.read(Window(left, top, right - left, bottom - top))
        if self.shift_px != (0.0, 0.0):
            filled = fill_invalid(pixels, np.broadcast_to(valid, pixels.shape), _SPLINE_PX)
            order = 3 if self.offsets else 1
            pixels = moved(filled, self.shift_px, order)
            valid = ndimage.shift(valid.astype(np.float32), self.shift_px, order=1, mode="constant", cval=0) > 0.99
        inner = (
            slice(window.row_off - top, window.row_off - top + window.height),
            slice(window.col_off - left, window.col_off - left + window.width),
        )
        gains = np.array([line.gain for line in self.lines], np.float32).reshape(-1, 1, 1)
        offsets = np.array([line.offset for line in self.lines], np.float32).reshape(-1, 1, 1)
        kept = (pixels[(..., *inner)] - (offsets if self.offsets else 0)) / gains
        return kept.astype(np.float32), valid[inner]
