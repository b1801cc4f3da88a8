"""From two scenes to a map of change. It reads top to bottom."""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster

from catalog import Scene, SceneRequest, pixel_sides_m
from catalog.strict_json import to_json
from geosr.change.dates import ProductReader, Registered, Registration, SceneReader, register
from geosr.change.extent import certainty
from geosr.change.grid import Grid
from geosr.change.indices import INDICES, SpectralIndex
from geosr.change.levels import Levels
from geosr.change.polygons import ChangedArea, burn, changed_areas, format_of, write_polygons
from geosr.change.situation_map import MapSubject, draw_map, map_format
from geosr.errors import ExistsError, GeosrError, UsageError
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


@dataclass(frozen=True)
class ChangeRequest:
    """Two dates, what to compare, and where to write."""

    before: SceneRequest
    after: SceneRequest
    output: Path
    """The map: classes. Differences go to ``OUT_difference.tif``, the dates' products to ``OUT_before.tif`` and
    ``OUT_after.tif``."""
    index: str = "ndwi"
    """A name of :data:`geosr.change.indices.INDICES`."""
    model: str | None = None
    """None for the index's own."""
    least: float = 0.1
    """Smallest difference of the index that counts as change."""
    least_hectares: float = 0.1
    """Smallest area."""
    polygons: Path | None = None
    report: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Totals:
    """Hectares of one kind of change."""

    hectares: float
    low_hectares: float
    high_hectares: float
    areas: int


@dataclass(frozen=True)
class GridSummary:
    """Change on one grid."""

    pixel_m: float
    less: Totals
    more: Totals
    unchanged_difference: float
    """Median absolute difference of the index where nothing changed."""


@dataclass(frozen=True)
class ChangeResult:
    """Change between two dates on both grids, and the files written."""

    index: str
    before: str
    after: str
    fine: GridSummary
    source: GridSummary
    """Change found from the sources' own pixels."""
    registration: Registration
    notes: tuple[str, ...]
    files: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


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
    index = index_of(request.index)
    targets = _targets(request)
    scenes = _open_both(request, index)
    products = [
        _product(request, scene, name, reporter)
        for scene, name in zip((request.before, request.after), ("before", "after"), strict=True)
    ]
    reporter.stage("comparing the dates")
    registration, grids = _grids(index, scenes, products)
    notes = _notes(registration)
    with TemporaryDirectory(dir=request.output.absolute().parent, prefix=f".{request.output.stem}-") as name:
        folder = Path(name)
        levels, edge = grids[0].levels()
        notes += _few_unchanged(levels)
        fine, areas = _map(grids[0], (levels, edge), request, folder / "fine")
        coarse = replace(grids[1], flat_width=levels.width)
        source, _ = _map(coarse, coarse.levels(), request, folder / "source")
        notes += _better_grid(fine, source)
        drafts = {
            "map": folder / "map.tif",
            "difference": folder / "difference.tif",
        }
        _write_map(grids[0], areas, folder / "fine", drafts["map"], drafts["difference"], index)
        if request.polygons is not None:
            drafts["polygons"] = folder / f"polygons{request.polygons.suffix}"
            write_polygons(areas, drafts["polygons"], grids[0].crs, (index.less, index.more))
        times = [scene.datetime.isoformat() if scene.datetime else "time unknown" for scene in scenes]
        result = ChangeResult(
            index.name,
            f"{scenes[0].id}, {times[0]}",
            f"{scenes[1].id}, {times[1]}",
            fine,
            source,
            registration,
            tuple(notes),
            {key: str(path) for key, path in targets.items()} | {"before": str(products[0]), "after": str(products[1])},
        )
        if request.report is not None:
            drafts["report"] = folder / f"report{request.report.suffix}"
            draw_map(_subject(result, index, products, drafts["map"], scenes), drafts["report"])
        drafts["summary"] = folder / "summary.json"
        drafts["summary"].write_text(to_json(result.as_json(), indent=2), encoding="utf-8")
        for key, draft in drafts.items():
            shutil.move(draft, targets[key])
    return result


def index_of(name: str) -> SpectralIndex:
    """The index of this name. Raises :class:`UsageError` for an unknown one."""
    if name.lower() not in INDICES:
        raise UsageError(f"--index is {', '.join(INDICES)}, not {name}")
    return INDICES[name.lower()]


def _targets(request: ChangeRequest) -> dict[str, Path]:
    """Paths of all that is written, checked before anything is computed."""
    output = request.output
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"the output {output} is a GeoTIFF: give it the ending .tif")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist")
    targets = {
        "map": output,
        "difference": output.with_name(f"{output.stem}_difference{output.suffix}"),
        "summary": output.with_name(f"{output.stem}_change.json"),
    }
    if request.polygons is not None:
        format_of(request.polygons)
        targets["polygons"] = request.polygons
    if request.report is not None:
        map_format(request.report)
        targets["report"] = request.report
    if not request.overwrite:
        for path in targets.values():
            if path.exists():
                raise ExistsError(f"{path} exists: --overwrite replaces it")
    return targets


def _open_both(request: ChangeRequest, index: SpectralIndex) -> list[Scene]:
    card = ModelRef(request.model or index.model).card
    scenes = [open_for_model(one, card) for one in (request.before, request.after)]
    for scene in scenes:
        missing = [band for band in index.bands if band not in scene.names]
        if missing:
            raise UsageError(f"{scene.id} has no {' and no '.join(missing)}, which {index.name} needs")
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
            f"{scenes[0].id} and {scenes[1].id} are not on one grid: give both the same --bbox, and --crs where "
            "their CRS differ"
        )
    if scenes[0].geobox.crs is None:
        raise UsageError(f"{scenes[0].id} has no CRS: hectares need one")
    return scenes


def _product(request: ChangeRequest, scene: SceneRequest, name: str, reporter: Reporter) -> Path:
    output = request.output.with_name(f"{request.output.stem}_{name}.tif")
    model = ModelRef(request.model or index_of(request.index).model)
    upscale = UpscaleRequest(scene, output, model, uncertainty=True, overwrite=request.overwrite)
    return Path(str(super_resolve(upscale, reporter).cog))


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
    made = []
    for factor, one, other in ((scale, readers[0], readers[1]), (1, sources[0], sources[1])):
        grid_size = (size[0] * factor, size[1] * factor)
        shift = (registration.rows_px * factor, registration.cols_px * factor)
        moved = Registered(other, grid_size, shift, registration.lines)
        moved_widths = Registered(widths[1], grid_size, shift, registration.lines, offsets=False)
        sides = pixel_sides_m(before.geobox)
        assert sides is not None
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
    grid: Grid, measured: tuple[Levels, float], request: ChangeRequest, folder: Path
) -> tuple[GridSummary, list[ChangedArea]]:
    """Write certainties and differences, and find the areas."""
    folder.mkdir()
    levels, edge = measured
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
            rasterio.open(folder / "difference.tif", "w", count=2, dtype="float32", nodata=math.nan, **form)
        )
        for window in grid.windows():
            outer, inner = grid.around(window)
            difference = grid.difference(outer, levels, edge)
            certainties, increase = certainty(difference, request.least, grid.reach_px)
            classes = np.where(certainties[inner] > 0, 1 + increase[inner], 0).astype(np.uint8)
            sure.write(np.stack([certainties[inner], classes]), window=window)
            index.write(np.stack([difference.index[inner], difference.half_width[inner]]), window=window)
    areas = list(
        changed_areas(folder / "certainty.tif", folder / "difference.tif", request.least_hectares, grid.pixel_hectares)
    )
    totals = [_totals([area for area in areas if area.kind == kind]) for kind in (1, 2)]
    return GridSummary(round(grid.pixel_m, 3), totals[0], totals[1], round(levels.typical, 5)), areas


def _totals(areas: list[ChangedArea]) -> Totals:
    return Totals(
        round(sum(area.hectares for area in areas), 3),
        round(sum(area.low_hectares for area in areas), 3),
        round(sum(area.high_hectares for area in areas), 3),
        len(areas),
    )


def _write_map(
    grid: Grid, areas: list[ChangedArea], folder: Path, classes: Path, difference: Path, index: SpectralIndex
) -> None:
    """Write both rasters as Cloud-Optimized GeoTIFFs."""
    plain = folder / "classes.tif"
    with rasterio.open(folder / "difference.tif", "r+") as raster:
        raster.descriptions = (f"{index.name}, after minus before", "half-width of unchanged ground")
        form = {**raster.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(plain, "w", **form) as made:
            for window in grid.windows():
                unknown = np.isnan(raster.read(1, window=window))
                made.write(burn(areas, unknown, window, grid.transform), 1, window=window)
            made.write_colormap(1, {0: (0, 0, 0, 0), 1: (196, 60, 40, 255), 2: (30, 90, 200, 255)})
            made.descriptions = (f"0 unchanged, 1 {index.less}, 2 {index.more}",)
    for source, target, resampling in ((plain, classes, "mode"), (folder / "difference.tif", difference, "average")):
        copy_raster(source, target, driver="COG", compress="deflate", overview_resampling=resampling)


def _notes(registration: Registration) -> list[str]:
    if not registration.squares:
        return ["the dates could not be registered, and are compared as they lie: clouds, or too little detail"]
    shift = math.hypot(registration.rows_px, registration.cols_px)
    seasons = all((line.gain, line.offset) == (1.0, 0.0) for line in registration.lines)
    return [
        *(["the dates differ by season, and are not brought to one radiometry"] if seasons else []),
        f"the later date was moved by {shift:.2f} source pixels (scatter {registration.scatter_px:.2f}, "
        f"{registration.squares} squares)",
    ]


def _few_unchanged(levels: Levels) -> list[str]:
    if levels.factor < 1:
        return []
    return [
        "most of the area differs by more than the errors of both dates, as between seasons: there is too little "
        "unchanged ground to measure, and the half-widths of both are taken in full"
    ]


def _better_grid(fine: GridSummary, source: GridSummary) -> list[str]:
    """Say where the source's pixels are the better measure."""
    notes = []
    if source.unchanged_difference < fine.unchanged_difference:
        notes.append(
            f"where nothing changed the index differs by {source.unchanged_difference:.4f} at {source.pixel_m:g} m and "
            f"{fine.unchanged_difference:.4f} at {fine.pixel_m:g} m: for weak change the source's pixels are the "
            "better measure, for edges and small areas the finer ones"
        )
    return notes


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
