"""Comparison of two rasters of one place: their values on one grid, differences, profiles and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from catalog.gdal import open_raster
from catalog.placing import check_placed, grid_of_raster
from catalog.sentinel2 import band_name
from geosr.errors import UsageError
from geosr.maps.on_grid import values_on
from geosr.maps.raster import MapRaster, Shown
from geosr.maps.stretch import Stretch

#: Longest side of the pictures, pixels.
LONGEST_PX = 1400

#: Bins of histograms, between the percentiles that cut off the extremes.
BINS = 100
_ENDS = (0.5, 99.5)

#: Samples along a profile.
PROFILE = 400

#: Ratio of the medians of two rasters from which on their values are of different units.
_OTHER_UNIT = 50.0

#: Grids whose pixels differ by more than this factor are also compared on the coarser one.
_COARSER = 1.5


@dataclass(frozen=True)
class BandDifference:
    """B minus A in one band."""

    band: str
    pixel: float
    """Side of the pixels compared, in units of A's CRS."""
    count: int
    """Pixels measured in both."""
    mean: float
    mean_absolute: float
    rmse: float
    correlation: float
    percentiles: tuple[float, ...]
    """5th, 50th and 95th."""


@dataclass(frozen=True)
class Aligned:
    """Values of the common bands on one grid; NaN where one of the two was not measured."""

    geobox: GeoBox
    a: NDArray[np.float32]
    b: NDArray[np.float32]
    """``(bands, rows, cols)``: DN with the files' scale and offset applied."""

    @cached_property
    def both(self) -> NDArray[np.bool_]:
        """``(bands, rows, cols)``: measured in both."""
        return np.isfinite(self.a) & np.isfinite(self.b)


@dataclass(frozen=True)
class Comparison:
    """Two rasters on their common ground."""

    names: tuple[str, str]
    bands: tuple[str, ...]
    shown: tuple[int, ...]
    """Positions, among the bands, of those that pictures show."""
    fine: Aligned
    """On the finer of both grids, or as coarse as pictures have to be."""
    differences: tuple[BandDifference, ...]

    def pictures(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Stretch]:
        """A and B in one stretch, taken from A; each ``(bands, rows, cols)``."""
        a, b = (_shown(values[list(self.shown)]) for values in (self.fine.a, self.fine.b))
        stretch = Stretch.measured(a)
        return stretch(a), stretch(b), stretch

    def profile(self, line: Sequence[float] | None = None) -> tuple[NDArray[np.float64], ...]:
        """Distances along a line, and the values of A and B there, ``(bands, samples)``.

        ``line`` is ``x1, y1, x2, y2`` in A's CRS; by default it crosses the middle from west to east.
        """
        box = self.fine.geobox.boundingbox
        middle = (box.bottom + box.top) / 2
        x1, y1, x2, y2 = line or (box.left, middle, box.right, middle)
        share = np.linspace(0, 1, PROFILE)
        cols, rows = ~self.fine.geobox.affine * (x1 + share * (x2 - x1), y1 + share * (y2 - y1))
        height, width = self.fine.a.shape[1:]
        # The ends of the default line are edges of pixels.
        r, c = (np.floor(np.clip(v, 0, n - 1e-6)).astype(int) for v, n in ((rows, height), (cols, width)))
        outside = (rows < -1e-6) | (rows > height + 1e-6) | (cols < -1e-6) | (cols > width + 1e-6)
        if outside.all():
            raise UsageError("the line of the profile does not cross the common ground of both rasters")
        distance = share * float(np.hypot(x2 - x1, y2 - y1))
        values = [np.where(outside, np.nan, side[:, r, c]) for side in (self.fine.a, self.fine.b)]
        return distance, *values

    def histograms(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        """Edges, and shares of A and of B, for each band."""
        found = []
        for a, b, both in zip(self.fine.a, self.fine.b, self.fine.both, strict=True):
            values = np.concatenate([a[both], b[both]]) if both.any() else np.zeros(2)
            low, high = np.percentile(values, _ENDS)
            edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
            shares = [np.histogram(one[both], edges)[0] / max(1, both.sum()) for one in (a, b)]
            found.append((edges, *shares))
        return found


def compare(first: str, second: str) -> Comparison:
    """Compare two rasters on their common ground.

    Raises :class:`UsageError` where they have no band, ground or unit in common, and :class:`catalog.CatalogError`
    where one cannot be read.
    """
    a, b = MapRaster.of(first), MapRaster.of(second)
    pairs = _common_bands(a, b)
    with open_raster(first) as raster_a, open_raster(second) as raster_b:
        fine, coarse = _grids(raster_a, raster_b)
        numbers = [[pair[side] for pair in pairs.values()] for side in (0, 1)]
        aligned = [
            Aligned(grid, _values(raster_a, a, numbers[0], grid), _values(raster_b, b, numbers[1], grid))
            for grid in (fine, coarse)
            if grid is not None
        ]
    if not aligned[0].both.any():
        raise UsageError(f"{first} and {second} have no pixel that was measured in both")
    _check_units(first, second, aligned[0])
    bands = tuple(pairs)
    numbers_shown = [number for number in a.shown() if number in numbers[0]] or numbers[0][:1]
    shown = tuple(numbers[0].index(number) for number in numbers_shown)
    differences = [_difference(band, one, i) for one in aligned for i, band in enumerate(bands)]
    return Comparison(
        (first, second), bands, shown[:3] if len(shown) >= 3 else shown[:1], aligned[0], tuple(differences)
    )


def _common_bands(a: MapRaster, b: MapRaster) -> dict[str, tuple[int, int]]:
    """Numbers of the bands of the same name, by name in A; bands without names are matched by their order."""
    named = {band_name(name) or name: i + 1 for i, name in reversed(list(enumerate(b.names)))}
    pairs = {
        name: (i + 1, named[band_name(name) or name])
        for i, name in enumerate(a.names)
        if (band_name(name) or name) in named
    }
    if not pairs:
        raise UsageError(f"no band is in both: {a.path} has {', '.join(a.names)}, {b.path} {', '.join(b.names)}")
    for name, (i, j) in pairs.items():
        plain = [(raster.scales[n - 1], raster.offsets[n - 1]) == (1.0, 0.0) for raster, n in ((a, i), (b, j))]
        if plain[0] != plain[1]:
            without, other = (a.path, b.path) if plain[0] else (b.path, a.path)
            raise UsageError(
                f"band {name} of {without} has no scale and offset, that of {other} has: declare them "
                "(gdal_edit.py -scale 0.0001 -offset 0)"
            )
    return pairs


def _grids(a: DatasetReader, b: DatasetReader) -> tuple[GeoBox, GeoBox | None]:
    """The finer of both grids on the common ground, no larger than a picture, and the coarser one if it is another."""
    for raster in (a, b):
        check_placed(raster)
        if raster.crs is None:
            raise UsageError(f"{raster.name} has no CRS, so it cannot be laid over the other raster")
    own = grid_of_raster(a).boundingbox
    other = transform_bounds(b.crs, a.crs, *grid_of_raster(b).boundingbox.bbox)
    left, bottom, right, top = (
        max(own.left, other[0]),
        max(own.bottom, other[1]),
        min(own.right, other[2]),
        min(own.top, other[3]),
    )
    if not (left < right and bottom < top):
        raise UsageError(f"{a.name} and {b.name} have no ground in common")
    sizes = (abs(a.transform.a), (other[2] - other[0]) / b.width)
    box = BoundingBox(left, bottom, right, top, a.crs.to_wkt())
    finest = max(min(sizes), (right - left) / LONGEST_PX, (top - bottom) / LONGEST_PX)
    coarsest = max(sizes)
    fine = GeoBox.from_bbox(box, resolution=finest, tight=True)
    return fine, GeoBox.from_bbox(box, resolution=coarsest, tight=True) if coarsest > _COARSER * finest else None


def _values(raster: DatasetReader, form: MapRaster, numbers: Sequence[int], grid: GeoBox) -> NDArray[np.float32]:
    factors, offsets = (
        np.array([one[n - 1] for n in numbers]).reshape(-1, 1, 1) for one in (form.scales, form.offsets)
    )
    values: NDArray[np.float32] = (values_on(raster, numbers, grid) * factors + offsets).astype(np.float32)
    return values


def _check_units(first: str, second: str, one: Aligned) -> None:
    """Refuse values of other units, as DN and reflectance: nothing of a comparison of these means anything."""
    sizes = [np.median(np.abs(side[one.both])) for side in (one.a, one.b)]
    if min(sizes) > 0 and max(sizes) > _OTHER_UNIT * min(sizes):
        raise UsageError(
            f"the values of {first} are around {sizes[0]:.3g} and those of {second} around {sizes[1]:.3g}, in another "
            "unit: declare the scale of the one that holds DN (gdal_edit.py -scale 0.0001)"
        )


def _difference(band: str, one: Aligned, i: int) -> BandDifference:
    both = one.both[i]
    a, b = (side[i][both].astype(np.float64) for side in (one.a, one.b))
    pixel = float(one.geobox.resolution.x)
    if not both.any():
        return BandDifference(band, pixel, 0, *(float("nan"),) * 4, (float("nan"),) * 3)
    delta = b - a
    varied = a.std() > 0 and b.std() > 0
    return BandDifference(
        band=band,
        pixel=pixel,
        count=int(both.sum()),
        mean=float(delta.mean()),
        mean_absolute=float(np.abs(delta).mean()),
        rmse=float(np.sqrt((delta**2).mean())),
        correlation=float(np.corrcoef(a, b)[0, 1]) if varied else float("nan"),
        percentiles=tuple(float(value) for value in np.percentile(delta, (5, 50, 95))),
    )


def _shown(values: NDArray[np.float32]) -> Shown:
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=0))
    return Shown(np.where(valid, values, 0).astype(np.float32), valid)
