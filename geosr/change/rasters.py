"""Rasters of change: certainties, differences and textures of a grid, the map of classes, and their styles."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster

from geosr.change.calm import BANDS, CalmDifference, MedianSize
from geosr.change.extent import NONE, certainty
from geosr.change.grid import Grid
from geosr.change.indices import SHARP_BAND, SpectralIndex
from geosr.change.levels import Levels
from geosr.change.polygons import ChangedArea, burn, changed_areas
from geosr.change.result import GridSummary, totals_of
from geosr.change.situation_map import COLOURS
from geosr.change.texture import texture_of
from geosr.maps.outputs import style_path
from geosr.maps.qml import classes_style, style_of
from geosr.maps.raster import MapRaster


@dataclass(frozen=True)
class Least:
    """Smallest change that counts."""

    difference: float
    """Smallest difference of the index."""
    hectares: float


def map_grid(
    grid: Grid, levels: Levels, least: Least, folder: Path, calm: CalmDifference | None = None
) -> tuple[GridSummary, list[ChangedArea]]:
    """Write certainties, differences and textures of a grid to a new folder, and find the areas.

    Parameters
    ----------
    grid
        Both dates.
    levels
        Levels of its unchanged ground.
    least
        Smallest change that counts.
    folder
        Folder to make; ``difference.tif`` in it is read by :func:`write_map`.
    calm
        Differences of the sources, which finer ones are held against; None for the sources' own grid.
    """
    folder.mkdir()
    shown_sizes, measured_sizes = MedianSize(), MedianSize()
    form = {
        "driver": "GTiff",
        "width": grid.size[1],
        "height": grid.size[0],
        "transform": grid.transform,
        "crs": grid.crs,
        "tiled": True,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    with ExitStack() as stack:
        sure = stack.enter_context(rasterio.open(folder / "certainty.tif", "w", count=2, dtype="uint8", **form))
        index = stack.enter_context(
            rasterio.open(folder / "difference.tif", "w", count=len(BANDS), dtype="float32", nodata=math.nan, **form)
        )
        texture = stack.enter_context(rasterio.open(folder / "texture.tif", "w", count=2, dtype="float32", **form))
        sharp = grid.index.bands.index(SHARP_BAND)
        for window in grid.windows():
            outer, inner = grid.around(window)
            difference = grid.difference(outer, levels)
            certainties, increase = certainty(difference, least.difference, grid.reach_px, levels.shown_later)
            classes = np.where(certainties[inner] > 0, 1 + increase[inner], 0).astype(np.uint8)
            sure.write(np.stack([certainties[inner], classes]), window=window)
            known = np.isfinite(difference.index)
            textures = [texture_of(date[sharp], known)[inner] for date in (difference.before, difference.after)]
            texture.write(np.stack(textures), window=window)
            measured, half_width = difference.index[inner], difference.half_width[inner]
            shown = measured if calm is None else calm.of(window, measured, half_width)
            index.write(np.stack([shown, half_width, measured]), window=window)
            unchanged = (certainties[inner] == NONE) & np.isfinite(measured)
            shown_sizes.add(shown[unchanged])
            measured_sizes.add(measured[unchanged])
    sure_path, index_path, texture_path = (folder / f"{name}.tif" for name in ("certainty", "difference", "texture"))
    areas = list(changed_areas(sure_path, index_path, texture_path, least.hectares, grid.pixel_hectares))
    less, more = (totals_of([area for area in areas if area.kind == kind]) for kind in (1, 2))
    medians = [round(one.value, 5) for one in (shown_sizes, measured_sizes)]
    return GridSummary(round(grid.pixel_m, 3), less, more, *medians), areas


def write_map(
    grid: Grid, areas: list[ChangedArea], folder: Path, classes: Path, difference: Path, index: SpectralIndex
) -> None:
    """Write both rasters as Cloud-Optimized GeoTIFFs."""
    plain = folder / "classes.tif"
    with rasterio.open(folder / "difference.tif", "r+") as raster:
        raster.descriptions = tuple(f"{index.name.upper()}: {content}" for content in BANDS.values())
        form = {**raster.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(plain, "w", **form) as made:
            for window in grid.windows():
                unknown = np.isnan(raster.read(1, window=window))
                made.write(burn(areas, unknown, window, grid.transform), 1, window=window)
            made.write_colormap(1, {0: (0, 0, 0, 0)} | {kind: (*one, 255) for kind, one in enumerate(COLOURS, 1)})
            made.descriptions = (f"0 unchanged, 1 {index.less}, 2 {index.more}",)
    for source, target, resampling in ((plain, classes, "mode"), (folder / "difference.tif", difference, "average")):
        copy_raster(source, target, driver="COG", compress="deflate", overview_resampling=resampling)


def write_styles(classes: Path, difference: Path, index: SpectralIndex) -> dict[str, Path]:
    """Write styles beside both rasters; return their paths by name."""
    styles = {
        classes: classes_style(
            [
                (kind, one, colour)
                for kind, (one, colour) in enumerate(zip((index.less, index.more), COLOURS, strict=True), 1)
            ]
        ),
        difference: style_of(MapRaster.of(str(difference)), "change"),
    }
    for raster, style in styles.items():
        style_path(raster).write_text(style, encoding="utf-8")
    return {"map_style": Path(str(style_path(classes))), "difference_style": Path(str(style_path(difference)))}
