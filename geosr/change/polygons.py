"""Areas of change: pixels that touch, as polygons with hectares and the range that the errors leave open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask, rasterize, shapes
from rasterio.transform import Affine
from rasterio.windows import Window
from shapely import STRtree
from shapely.geometry import MultiPolygon, box, mapping, shape

from catalog.strict_json import to_json
from geosr.change.calm import MEASURED_BAND
from geosr.change.extent import LIKELY, PERHAPS, SURE
from geosr.errors import UsageError

#: Classes of the map.
UNCHANGED, DECREASE, INCREASE, UNKNOWN = 0, 1, 2, 255

#: Columns of a file of areas.
_COLUMNS = ("change", "hectares", "hectares_low", "hectares_high", "mean_difference", "texture_before", "texture_after")

#: Formats of polygons by the file's ending.
FORMATS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG"}


@dataclass(frozen=True)
class ChangedArea:
    """Changed pixels that touch, in the CRS of the map."""

    kind: int
    """``DECREASE`` or ``INCREASE``."""
    geometry: MultiPolygon
    hectares: float
    low_hectares: float
    """If every error in it went the other way."""
    high_hectares: float
    """If every error in and around it went this way."""
    mean_difference: float
    """Mean of the index's differences as measured, after minus before."""
    texture_before: float
    """Mean texture on the earlier date, see :mod:`geosr.change.texture`."""
    texture_after: float


def changed_areas(
    certainties: Path, difference: Path, textures: Path, least_hectares: float, pixel_hectares: float
) -> Iterator[ChangedArea]:
    """Find the areas of at least ``least_hectares``.

    Memory holds one area at a time.

    Parameters
    ----------
    certainties
        Raster of two bands: how sure each pixel's change is, and its class.
    difference
        Map of differences, with the bands of :data:`geosr.change.calm.BANDS`.
    textures
        Raster of the texture before and after.
    least_hectares
        Smallest area.
    pixel_hectares
        Area of a pixel.
    """
    with rasterio.open(certainties) as raster, rasterio.open(difference) as index, rasterio.open(textures) as texture:
        classes = rasterio.band(raster, 2)
        for outline, kind in shapes(classes, mask=classes, connectivity=8, transform=raster.transform):
            outer = shape(outline)
            window = _window_of(outer.bounds, raster.transform)
            within = ~geometry_mask([outline], (window.height, window.width), raster.window_transform(window))
            sure = np.where(within, raster.read(1, window=window), 0)
            counts = [int((sure >= level).sum()) for level in (SURE, LIKELY, PERHAPS)]
            low, hectares, high = (count * pixel_hectares for count in counts)
            if not counts[1] or hectares < least_hectares:
                continue
            likely = sure >= LIKELY
            parts = shapes(likely.astype(np.uint8), mask=likely, transform=raster.window_transform(window))
            geometry = MultiPolygon([shape(part) for part, _ in parts])
            mean = float(np.nanmean(index.read(MEASURED_BAND, window=window)[likely]))
            before, after = (float(one[likely].mean()) for one in texture.read(window=window))
            yield ChangedArea(int(kind), geometry, hectares, low, high, mean, before, after)


def _window_of(bounds: tuple[float, float, float, float], transform: Affine) -> Window:
    """Window of an outline of pixels, whose bounds are whole numbers of them but for rounding; rows may run north."""
    left, bottom, right, top = bounds
    corners = (~transform * (left, top), ~transform * (right, bottom))
    cols, rows = (sorted(round(value) for value in axis) for axis in zip(*corners, strict=True))
    return Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])


def burn(areas: Sequence[ChangedArea], unknown: NDArray[np.bool_], window: Window, transform: Any) -> NDArray[np.uint8]:
    """Classes of a window: the areas', ``UNKNOWN`` where a date has no pixel, ``UNCHANGED`` elsewhere."""
    made = np.zeros(unknown.shape, np.uint8)
    if areas:
        here = rasterio.windows.bounds(window, transform)
        tree = STRtree([area.geometry for area in areas])
        found = tree.query(box(*here))
        if len(found):
            rasterize(
                [(areas[i].geometry, areas[i].kind) for i in found],
                out=made,
                transform=rasterio.windows.transform(window, transform),
            )
    made[unknown] = UNKNOWN
    return made


def write_polygons(areas: Iterable[ChangedArea], path: Path, crs: Any, meanings: Sequence[str]) -> None:
    """Write areas as GeoJSON (in degrees, as its standard wants) or GeoPackage (in the map's CRS).

    ``meanings`` are the words for a decrease and an increase. Raises :class:`UsageError` for other endings.
    """
    form = format_of(path)
    areas = list(areas)
    fields = [
        {
            "change": meanings[area.kind - 1],
            "hectares": round(area.hectares, 4),
            "hectares_low": round(area.low_hectares, 4),
            "hectares_high": round(area.high_hectares, 4),
            "mean_difference": round(area.mean_difference, 4),
            "texture_before": round(area.texture_before, 5),
            "texture_after": round(area.texture_after, 5),
        }
        for area in areas
    ]
    if form == "GeoJSON":
        from pyproj import Transformer

        transformer = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        placed = [
            shapely.transform(area.geometry, lambda xy: np.column_stack(transformer.transform(*xy.T))) for area in areas
        ]
        features = [
            {"type": "Feature", "properties": one, "geometry": mapping(geometry)}
            for one, geometry in zip(fields, placed, strict=True)
        ]
        path.write_text(to_json({"type": "FeatureCollection", "features": features}), encoding="utf-8")
        return
    import pyogrio

    columns = [np.array([one[name] for one in fields], object if name == "change" else float) for name in _COLUMNS]
    pyogrio.raw.write(
        path,
        geometry=np.array([area.geometry.wkb for area in areas], object),
        field_data=columns,
        fields=np.array(_COLUMNS),
        geometry_type="MultiPolygon",
        crs=crs.to_wkt(),
        driver=form,
        layer="change",
    )


def format_of(path: Path) -> str:
    """Format of a file of polygons. Raises :class:`UsageError` for an ending without one."""
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"polygons are written as .geojson or .gpkg, not {path.suffix or path.name}")
    return form
