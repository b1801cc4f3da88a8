"""Several scenes of one date, side by side or overlapping, as one: joined before a network sees them.

Upscaled apart, their rims would differ, for each would lack its neighbour's pixels.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox, geobox_union_conservative
from rasterio.windows import Window

from catalog.errors import SourceError
from catalog.sampling import BandSample
from catalog.scene import BandSpec, PixelReader, Pixels, Scene

#: How far a corner may be from the common grid, pixels.
_OFF_GRID_PX = 0.01

#: Share of a mosaic's pixels below which its sources are scattered.
_SCATTERED = 0.5

#: Scenes of one overpass are acquired within this time.
_ONE_DATE = dt.timedelta(hours=12)


@dataclass(frozen=True)
class Part:
    """A scene's pixels and their place in the mosaic."""

    reader: PixelReader
    window: Window
    """Pixels of the mosaic that it has."""


@dataclass(frozen=True)
class MosaicReader:
    """Bands from several readers; where parts overlap, the first that was measured counts, band by band."""

    parts: tuple[Part, ...]
    dtype: str
    bands: int

    def read(self, window: Window) -> Pixels:
        shape = (self.bands, int(window.height), int(window.width))
        pixels, valid = np.zeros(shape, self.dtype), np.zeros(shape, dtype=bool)
        for part in self.parts:
            common = _intersection(window, part.window)
            if common is None:
                continue
            own, measured = part.reader.read(_moved(common, part.window))
            place = (slice(None), *_moved(common, window).toslices())
            taken = measured & ~valid[place]
            np.copyto(pixels[place], own, where=taken)
            valid[place] |= measured
        return pixels, valid

    def sample(self, window: Window) -> list[BandSample]:
        found = []
        for part in self.parts:
            common = _intersection(window, part.window)
            if common is not None:
                found.append(part.reader.sample(_moved(common, part.window)))
        if not found:
            return [(np.zeros(0, self.dtype), np.zeros(0, dtype=bool))] * self.bands
        return [
            (np.concatenate([dn.ravel() for dn, _ in band]), np.concatenate([valid.ravel() for _, valid in band]))
            for band in zip(*found, strict=True)
        ]

    def select(self, keep: tuple[int, ...]) -> MosaicReader:
        parts = tuple(replace(part, reader=part.reader.select(keep)) for part in self.parts)
        return replace(self, parts=parts, bands=len(keep))


def mosaic_scenes(scenes: Sequence[Scene], *, whole: bool) -> Scene:
    """Join scenes of one date, one sensor, one processing level and one grid.

    Parameters
    ----------
    scenes
        Scenes, the first of which count most where they overlap.
    whole
        True if all of the mosaic is asked for, and no area of it: a note tells then where most of it has no source.

    Returns
    -------
    Scene
        Their pixels on a grid around all of them. Between them nothing is measured.

    Raises
    ------
    SourceError
        They differ in bands, radiometry, type, sensor, processing level, date or grid.

    """
    first = scenes[0]
    for other in scenes[1:]:
        _check_alike(first, other)
    if first.geobox.crs is None:
        raise SourceError(f"{first.id} has no CRS, so nothing tells where the other sources lie beside it")
    places = [_place(scene, first) for scene in scenes]
    grid = geobox_union_conservative([scene.geobox for scene in scenes])
    left, top = min(col for col, _ in places), min(row for _, row in places)
    parts = tuple(
        Part(scene.reader, Window(col - left, row - top, scene.geobox.shape.x, scene.geobox.shape.y))
        for scene, (col, row) in zip(scenes, places, strict=True)
    )
    gaps = not _is_covered([part.window for part in parts], grid)
    return replace(
        first,
        bands=_with_nodata_of_all(scenes),
        id=f"{first.id} and {len(scenes) - 1} more",
        geobox=grid,
        area=Window(0, 0, grid.shape.x, grid.shape.y),
        reader=MosaicReader(parts, first.dtype, len(first.bands)),
        identity={"mosaic": [dict(scene.identity) for scene in scenes]},
        sources=tuple(dict.fromkeys(source for scene in scenes for source in scene.sources)),
        rasters={path: identity for scene in scenes for path, identity in scene.rasters.items()},
        files=tuple(dict.fromkeys(path for scene in scenes for path in scene.files)),
        notes=(
            *dict.fromkeys(note for scene in scenes for note in scene.notes),
            f"{len(scenes)} sources are joined before they are upscaled: {', '.join(scene.id for scene in scenes)}",
            *(_scattered([part.window for part in parts], grid) if whole else ()),
        ),
        nodata_declared=gaps or any(scene.nodata_declared for scene in scenes),
        tags={key: value for key, value in first.tags.items() if all(one.tags.get(key) == value for one in scenes)},
        datetime=min((scene.datetime for scene in scenes if scene.datetime is not None), default=None),
    )


def _with_nodata_of_all(scenes: Sequence[Scene]) -> tuple[BandSpec, ...]:
    """Bands of the first scene, whose nodata the product has, with that of the others beside it."""
    declaring = next((scene for scene in scenes if scene.nodata_declared), scenes[0])
    made = []
    for i, band in enumerate(scenes[0].bands):
        nodata = declaring.bands[i].nodata
        values = dict.fromkeys(value for scene in scenes for value in scene.bands[i].unmeasured)
        made.append(replace(band, nodata=nodata, also_nodata=tuple(v for v in values if str(v) != str(nodata))))
    return tuple(made)


def _check_alike(first: Scene, other: Scene) -> None:
    """Refuse to join what differs, and say in what."""
    properties: tuple[tuple[str, Callable[[Scene], Any], str], ...] = (
        ("bands", lambda scene: ", ".join(scene.names), "name or choose them with --bands"),
        ("type", lambda scene: scene.dtype, "convert one, gdal_translate -ot"),
        (
            "scale and offset",
            lambda scene: "; ".join(f"{band.scale:g}, {band.offset:g}" for band in scene.bands),
            "give them with --scale and --offset, or upscale them apart",
        ),
        ("CRS", lambda scene: str(scene.geobox.crs), "warp one to the other's grid, gdalwarp -t_srs"),
        ("sensor", lambda scene: scene.sensor or scene.properties.get("platform", "")[:10], "upscale them apart"),
        (
            "processing level",
            lambda scene: scene.properties.get("processing:level", "not told"),
            "reflectance at the top of the atmosphere is not that of the ground: upscale them apart",
        ),
    )
    for what, value, advice in properties:
        if value(first) != value(other):
            raise SourceError(
                f"{first.id} and {other.id} cannot be joined, for their {what} differ "
                f"({value(first)}; {value(other)}): {advice}"
            )
    if first.datetime and other.datetime and abs(first.datetime - other.datetime) > _ONE_DATE:
        raise SourceError(
            f"{first.id} and {other.id} are of different dates, {first.datetime:%Y-%m-%d} and "
            f"{other.datetime:%Y-%m-%d}: upscale them apart, as geosr batch does, or make one image of them with "
            "--reference"
        )


def _place(scene: Scene, first: Scene) -> tuple[int, int]:
    """Column and row of a scene's corner on the grid of the first one, whole pixels of its coarsest band."""
    own, common = scene.geobox.affine, first.geobox.affine
    col, row = ~common * (own.c, own.f)
    sizes = [band.gsd_m for band in scene.bands if band.gsd_m is not None]
    span = round(max(sizes) / min(sizes)) if sizes else 1
    same = np.allclose((own.a, own.b, own.d, own.e), (common.a, common.b, common.d, common.e), rtol=1e-9, atol=0)
    off_grid = max(abs(col - round(col)), abs(row - round(row))) > _OFF_GRID_PX
    if not same or off_grid or round(col) % span or round(row) % span:
        raise SourceError(
            f"{scene.id} lies on another grid than {first.id}: warp it to that, as with gdalwarp -tr and -tap, or "
            "upscale them apart"
        )
    return round(col), round(row)


def _is_covered(windows: Sequence[Window], grid: GeoBox) -> bool:
    """Tell whether every pixel of a grid is in a window, by the rows and columns at which windows begin and end."""
    rows = sorted({0, grid.shape.y, *(int(edge) for w in windows for edge in (w.row_off, w.row_off + w.height))})
    cols = sorted({0, grid.shape.x, *(int(edge) for w in windows for edge in (w.col_off, w.col_off + w.width))})
    return all(
        any(w.row_off <= row < w.row_off + w.height and w.col_off <= col < w.col_off + w.width for w in windows)
        for row in rows[:-1]
        for col in cols[:-1]
    )


def _scattered(windows: Sequence[Window], grid: GeoBox) -> list[str]:
    """A note where most of a grid has no source."""
    share = sum(window.width * window.height for window in windows) / (grid.shape.x * grid.shape.y)
    if share >= _SCATTERED:
        return []
    return [
        f"the sources lie apart: they cover {100 * share:.2g} % of the grid around them, and the rest of it is nodata; "
        "geosr batch makes a product of each"
    ]


def _intersection(one: Window, other: Window) -> Window | None:
    top, left = max(one.row_off, other.row_off), max(one.col_off, other.col_off)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    right = min(one.col_off + one.width, other.col_off + other.width)
    return Window(left, top, right - left, bottom - top) if top < bottom and left < right else None


def _moved(window: Window, origin: Window) -> Window:
    """A window counted from the corner of another."""
    return Window(window.col_off - origin.col_off, window.row_off - origin.row_off, window.width, window.height)
