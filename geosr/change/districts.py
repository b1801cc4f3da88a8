"""Change by district: hectares of each kind in polygons such as municipalities, quarters or catchments."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from catalog.area import covered_share, outline_on
from catalog.features import Feature, read_features
from geosr.change.polygons import DECREASE, INCREASE, UNKNOWN, ChangedArea
from geosr.errors import UsageError

#: Side of the squares in which a district's pixels are counted.
_SQUARE_PX = 2048


@dataclass(frozen=True)
class DistrictsFile:
    """Polygons to sum up change in."""

    path: Path
    id_column: str | None = None
    """Column that names them; None for their numbers in the file."""
    layer: str | None = None
    where: str | None = None

    def read(self) -> list[Feature]:
        """Read the polygons. Raises :class:`catalog.AreaError`."""
        return read_features(self.path, self.id_column, self.layer, self.where)


@dataclass(frozen=True)
class DistrictChange:
    """One kind of change in one district."""

    district: str | int
    measured_hectares: float
    """Part of the district that both dates show."""
    change: str
    hectares: float
    hectares_low: float
    hectares_high: float
    areas: int
    """Areas of change that reach into the district."""
    source_hectares: float
    """Found from the sources' own pixels."""
    texture_before: float | None
    """Mean texture of the areas of change that reach into the district, see :mod:`geosr.change.texture`; None without
    change."""
    texture_after: float | None


def check_place(districts: Sequence[Feature], geobox: GeoBox, path: Path) -> None:
    """Check that a district lies on a grid. Raises :class:`UsageError` where none does."""
    if not any(covered_share(one.polygon, geobox) for one in districts):
        raise UsageError(f"no district of {path} lies on the scenes: see their place with geosr info")


def district_notes(districts: Sequence[Feature], rows: Sequence[DistrictChange]) -> list[str]:
    """Count the districts that are not in the table."""
    missing = len({one.id for one in districts} - {row.district for row in rows})
    if not missing:
        return []
    return [f"{missing} of {len(districts)} districts have no pixel that both dates show, and are not in the table"]


def change_in_districts(
    districts: Sequence[Feature],
    fine: Sequence[ChangedArea],
    source: Sequence[ChangedArea],
    classes: Path,
    pixel_hectares: float,
    meanings: tuple[str, str],
) -> tuple[DistrictChange, ...]:
    """Sum up the areas of change in each district; an area that crosses a border counts by its share on each side.

    Parameters
    ----------
    districts
        Polygons in degrees.
    fine, source
        Areas found at the product's and at the sources' pixels.
    classes
        Raster of classes at the product's pixels.
    pixel_hectares
        Hectares of one of its pixels.
    meanings
        Words for a decrease and an increase.

    Returns
    -------
    tuple of DistrictChange
        Two for each district that both dates show a part of, in the order of the districts.
    """
    with rasterio.open(classes) as raster:
        geobox = GeoBox.from_rio(raster)
        placed = [(one.id, outline_on(one.polygon, geobox)) for one in districts]
        measured = [_measured_pixels(raster, outline) * pixel_hectares for _, outline in placed]
    found = []
    trees = [(kinds, STRtree([area.geometry for area in kinds])) for kinds in (fine, source)]
    for (name, outline), hectares in zip(placed, measured, strict=True):
        if not hectares:
            continue
        inside, inside_source = (_shares(outline, areas, tree) for areas, tree in trees)
        for kind, meaning in zip((DECREASE, INCREASE), meanings, strict=True):
            own = [(area, share) for area, share in inside if area.kind == kind]
            likely, low, high = (
                round(sum(share * float(getattr(area, part)) for area, share in own), 3)
                for part in ("hectares", "low_hectares", "high_hectares")
            )
            coarse = round(sum(share * area.hectares for area, share in inside_source if area.kind == kind), 3)
            textures = _textures(own)
            found.append(
                DistrictChange(name, round(hectares, 3), meaning, likely, low, high, len(own), coarse, *textures)
            )
    return tuple(found)


def write_districts(rows: Sequence[DistrictChange], path: Path) -> None:
    """Write a table as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [one.name for one in fields(DistrictChange)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def _measured_pixels(raster: rasterio.DatasetReader, outline: BaseGeometry) -> int:
    """Pixels with their centre in an outline that both dates show."""
    if outline.is_empty:
        return 0
    to_pixels = ~raster.transform
    left, bottom, right, top = outline.bounds
    corners = np.array([to_pixels * corner for corner in ((left, top), (right, bottom), (left, bottom), (right, top))])
    first, last = np.floor(corners.min(axis=0)).astype(int).clip(0), np.ceil(corners.max(axis=0)).astype(int)
    last = np.minimum(last, (raster.width, raster.height))
    count = 0
    for row in range(first[1], last[1], _SQUARE_PX):
        for col in range(first[0], last[0], _SQUARE_PX):
            window = Window(col, row, min(_SQUARE_PX, last[0] - col), min(_SQUARE_PX, last[1] - row))
            known = raster.read(1, window=window) != UNKNOWN
            outside = geometry_mask([outline], known.shape, raster.window_transform(window))
            count += int((known & ~outside).sum())
    return count


def _shares(outline: BaseGeometry, areas: Sequence[ChangedArea], tree: STRtree) -> list[tuple[ChangedArea, float]]:
    """Areas that reach into an outline, each with the share of it that does."""
    found = []
    for i in sorted(tree.query(outline, predicate="intersects")):
        share = float(areas[i].geometry.intersection(outline).area / areas[i].geometry.area)
        if share > 0:
            found.append((areas[i], share))
    return found


def _textures(areas: Sequence[tuple[ChangedArea, float]]) -> tuple[float | None, float | None]:
    """Means of the areas' textures before and after, by their hectares in the district."""
    if not areas:
        return None, None
    weights = [share * area.hectares for area, share in areas]
    before, after = np.average([(one.texture_before, one.texture_after) for one, _ in areas], axis=0, weights=weights)
    return round(float(before), 5), round(float(after), 5)
