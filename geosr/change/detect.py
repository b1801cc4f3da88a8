"""From two scenes to a map of change. It reads top to bottom."""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster

from catalog import Scene, SceneRequest, pixel_sides_m
from catalog.strict_json import to_json
from geosr.change.calm import CalmDifference, MedianSize
from geosr.change.dates import ProductReader, Registered, Registration, SceneReader, register
from geosr.change.extent import NONE, certainty
from geosr.change.grid import Grid
from geosr.change.indices import INDICES, SpectralIndex
from geosr.change.item import item_text
from geosr.change.levels import Levels
from geosr.change.polygons import ChangedArea, burn, changed_areas, write_polygons
from geosr.change.request import ChangeRequest, names_of, product_path, reports_of, targets_of
from geosr.change.result import (
    ChangeResult,
    GridSummary,
    Totals,
    grid_notes,
    level_notes,
    registration_notes,
    totals_of,
)
from geosr.change.situation_map import COLOURS, MapSubject, draw_map
from geosr.errors import GeosrError, UsageError
from geosr.maps.outputs import MapOutputs, has_style, style_path
from geosr.maps.qml import classes_style, style_of
from geosr.maps.raster import MapRaster
from geosr.model.zoo import ModelRef
from geosr.progress import QuietReporter, Reporter
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from geosr.run.scene_of_request import open_for_model
from geosr.run.uncertainty_layers import HALF_WIDTH, layer_path

#: How far from its inside the edge of a change is looked for, source pixels.
_REACH_SOURCE_PX = 3

#: Modulation transfer at Nyquist of a band that nobody knows it of: the mean of Sentinel-2's.
_TYPICAL_TRANSFER = 0.26


def detect_change(request: ChangeRequest, reporter: Reporter | None = None) -> ChangeResult:
    """Map what changed between two dates by more than the errors of both.

    Both dates are upscaled with their half-widths, or taken over where their products are there already. The later
    date is registered to the earlier one and brought to its radiometry. Everything is written when all of it is
    complete.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    reporter = reporter or QuietReporter()
    if find_spec("skimage") is None:
        raise GeosrError("change needs scikit-image to register the dates: python -m pip install 'geosr[change]'")
    if has_style(request.output):
        # Its classes would be those of the map that is replaced.
        request = replace(request, style=True)
    index = index_of(request.index)
    model = ModelRef(request.model or index.model)
    targets = targets_of(request)
    scenes = _open_both(request, index, model)
    _check_apart(targets, scenes)
    products = [
        _product(request, scene, name, model, reporter)
        for scene, name in zip((request.before, request.after), ("before", "after"), strict=True)
    ]
    reporter.stage("comparing the dates")
    registration, grids = _grids(index, scenes, products)
    with TemporaryDirectory(dir=request.output.absolute().parent, prefix=f".{request.output.stem}-") as name:
        folder = Path(name)
        levels = grids[0].levels(request.least)
        notes = registration_notes(registration) + level_notes(levels)
        coarse = replace(grids[1], flat_width=levels.width)
        coarse_levels = coarse.levels(request.least)
        calm = CalmDifference(coarse, coarse_levels, grids[0].size[0] // coarse.size[0])
        fine, areas = _map(grids[0], levels, request, folder / "fine", calm)
        source, _ = _map(coarse, coarse_levels, request, folder / "source")
        notes += grid_notes(fine, source)
        drafts = {
            "map": folder / "map.tif",
            "difference": folder / "difference.tif",
        }
        _write_map(grids[0], areas, folder / "fine", drafts["map"], drafts["difference"], index)
        if request.polygons is not None:
            drafts["polygons"] = folder / f"polygons{request.polygons.suffix}"
            write_polygons(areas, drafts["polygons"], grids[0].crs, (index.less, index.more))
        times = [scene.datetime.isoformat() if scene.datetime else "time unknown" for scene in scenes]
        before, after = (f"{name}, {time}" for name, time in zip(names_of(request, scenes), times, strict=True))
        result = ChangeResult(
            index.name,
            before,
            after,
            fine,
            source,
            registration,
            tuple(notes),
            {key: str(path) for key, path in targets.items()} | {"before": str(products[0]), "after": str(products[1])},
        )
        for key, report in reports_of(request).items():
            drafts[key] = folder / f"{key}{report.suffix}"
            draw_map(_subject(result, index, products, drafts["map"], scenes), drafts[key])
        if request.style:
            drafts |= _write_styles(drafts["map"], drafts["difference"], index)
        drafts["summary"], drafts["item"] = folder / "summary.json", folder / "item.json"
        drafts["summary"].write_text(to_json(result.as_json(), indent=2), encoding="utf-8")
        counted = {"least": request.least, "least_hectares": request.least_hectares}
        drafts["item"].write_bytes(item_text(result, scenes, index, model, counted, drafts, targets))
        for key, draft in drafts.items():
            shutil.move(draft, targets[key])
    return result


def index_of(name: str) -> SpectralIndex:
    """The index of this name. Raises :class:`UsageError` for an unknown one."""
    if name.lower() not in INDICES:
        raise UsageError(f"--index is {', '.join(INDICES)}, not {name}")
    return INDICES[name.lower()]


def _check_apart(targets: dict[str, Path], scenes: list[Scene]) -> None:
    """Refuse outputs that would replace what is read."""
    for path in targets.values():
        for source in (name for scene in scenes for name in scene.files):
            if path.exists() and path.samefile(source):
                raise UsageError(f"{path} is a source: write to another file")


def _open_both(request: ChangeRequest, index: SpectralIndex, model: ModelRef) -> list[Scene]:
    scenes = [open_for_model(one, model.card) for one in (request.before, request.after)]
    names = names_of(request, scenes)
    for scene, name in zip(scenes, names, strict=True):
        missing = [band for band in index.bands if band not in scene.names]
        if missing:
            raise UsageError(f"{name} has no {' and no '.join(missing)}, which {index.name} needs")
    first, second = (
        (
            one.geobox.crs,
            one.geobox.transform * (one.area.col_off, one.area.row_off),
            one.geobox.resolution,
            one.area.height,
            one.area.width,
        )
        for one in scenes
    )
    if first != second:
        raise UsageError(
            f"{names[0]} and {names[1]} are not on one grid: give both the same --bbox, and --crs where "
            "their CRS differ"
        )
    if scenes[0].geobox.crs is None:
        raise UsageError(f"{names[0]} has no CRS: hectares need one")
    return scenes


def _product(request: ChangeRequest, scene: SceneRequest, name: str, model: ModelRef, reporter: Reporter) -> Path:
    output = product_path(request, name)
    upscale = UpscaleRequest(
        scene,
        output,
        model,
        request.engine,
        request.cluster,
        request.core_px,
        uncertainty=True,
        max_pixels=request.max_pixels,
        overwrite=request.overwrite,
    )
    published = super_resolve(upscale, reporter)
    MapOutputs(style=request.style).write(published)
    return Path(str(published.cog))


def _grids(index: SpectralIndex, scenes: list[Scene], products: list[Path]) -> tuple[Registration, list[Grid]]:
    before = scenes[0]
    size = (int(before.area.height), int(before.area.width))
    specs = [tuple(scene.bands[scene.names.index(band)] for band in index.bands) for scene in scenes]
    readers = [ProductReader(path, bands) for path, bands in zip(products, specs, strict=True)]
    sources = [SceneReader(scene, index.bands) for scene in scenes]
    transfers = [band.mtf_nyquist or _TYPICAL_TRANSFER for band in specs[0]]
    with rasterio.open(products[0]) as raster:
        fine_size, fine_transform, crs = raster.shape, raster.transform, raster.crs
    scale = fine_size[0] // size[0]
    registration = register(readers[0], sources[1], size, scale, transfers)
    widths = [
        ProductReader(layer_path(path, HALF_WIDTH), bands, widths=True)
        for path, bands in zip(products, specs, strict=True)
    ]
    sides = pixel_sides_m(before.geobox[before.area.toslices()])
    assert sides is not None  # _open_both refuses scenes without a CRS
    made = []
    for factor, one, other in ((scale, readers[0], readers[1]), (1, sources[0], sources[1])):
        grid_size = (size[0] * factor, size[1] * factor)
        shift = (registration.rows_px * factor, registration.cols_px * factor)
        moved = Registered(other, grid_size, shift, registration.lines)
        moved_widths = Registered(widths[1], grid_size, shift, registration.lines, offsets=False)
        made.append(
            Grid(
                index,
                one,
                moved,
                (widths[0], moved_widths) if factor > 1 else None,
                grid_size,
                fine_transform if factor > 1 else fine_transform * fine_transform.scale(scale, scale),
                crs,
                max(sides) / factor,
                sides[0] * sides[1] / factor**2 / 10_000,
                _REACH_SOURCE_PX * factor,
            )
        )
    return registration, made


def _map(
    grid: Grid, levels: Levels, request: ChangeRequest, folder: Path, calm: CalmDifference | None = None
) -> tuple[GridSummary, list[ChangedArea]]:
    """Write certainties and differences, and find the areas."""
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
            rasterio.open(folder / "difference.tif", "w", count=3, dtype="float32", nodata=math.nan, **form)
        )
        for window in grid.windows():
            outer, inner = grid.around(window)
            difference = grid.difference(outer, levels)
            certainties, increase = certainty(difference, request.least, grid.reach_px, levels.shown_later)
            classes = np.where(certainties[inner] > 0, 1 + increase[inner], 0).astype(np.uint8)
            sure.write(np.stack([certainties[inner], classes]), window=window)
            measured, half_width = difference.index[inner], difference.half_width[inner]
            shown = measured if calm is None else calm.of(window, measured, half_width)
            index.write(np.stack([shown, half_width, measured]), window=window)
            unchanged = (certainties[inner] == NONE) & np.isfinite(measured)
            shown_sizes.add(shown[unchanged])
            measured_sizes.add(measured[unchanged])
    areas = list(
        changed_areas(folder / "certainty.tif", folder / "difference.tif", request.least_hectares, grid.pixel_hectares)
    )
    less, more = (totals_of([area for area in areas if area.kind == kind]) for kind in (1, 2))
    medians = [round(one.value, 5) for one in (shown_sizes, measured_sizes)]
    return GridSummary(round(grid.pixel_m, 3), less, more, *medians), areas


def _write_map(
    grid: Grid, areas: list[ChangedArea], folder: Path, classes: Path, difference: Path, index: SpectralIndex
) -> None:
    """Write both rasters as Cloud-Optimized GeoTIFFs."""
    plain = folder / "classes.tif"
    with rasterio.open(folder / "difference.tif", "r+") as raster:
        raster.descriptions = (
            f"{index.name}, after minus before",
            "half-width of unchanged ground, as measured",
            f"{index.name}, after minus before, as measured",
        )
        form = {**raster.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(plain, "w", **form) as made:
            for window in grid.windows():
                unknown = np.isnan(raster.read(1, window=window))
                made.write(burn(areas, unknown, window, grid.transform), 1, window=window)
            made.write_colormap(1, {0: (0, 0, 0, 0)} | {kind: (*one, 255) for kind, one in enumerate(COLOURS, 1)})
            made.descriptions = (f"0 unchanged, 1 {index.less}, 2 {index.more}",)
    for source, target, resampling in ((plain, classes, "mode"), (folder / "difference.tif", difference, "average")):
        copy_raster(source, target, driver="COG", compress="deflate", overview_resampling=resampling)


def _write_styles(classes: Path, difference: Path, index: SpectralIndex) -> dict[str, Path]:
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


def _subject(
    result: ChangeResult, index: SpectralIndex, products: list[Path], classes: Path, scenes: list[Scene]
) -> MapSubject:
    rows = []
    for meaning, which in ((index.less, "less"), (index.more, "more")):
        for grid in (result.fine, result.source):
            total: Totals = getattr(grid, which)
            rows.append(
                (
                    meaning,
                    f"{grid.pixel_m:g} m",
                    f"{total.hectares:.2f}",
                    f"{total.low_hectares:.2f} to {total.high_hectares:.2f}",
                    str(total.areas),
                )
            )
    return MapSubject(
        f"Change of {index.name.upper()}",
        products,
        [result.before, result.after],
        classes,
        (index.less, index.more),
        rows,
        [*result.notes, *_sources(scenes)],
    )


def _sources(scenes: list[Scene]) -> list[str]:
    return [f"source: {Path(scene.sources[0]).name if scene.sources else scene.id}" for scene in scenes]
