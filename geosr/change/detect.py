"""From two scenes to a map of change. It reads top to bottom."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import rasterio

from catalog import Scene, SceneRequest, pixel_sides_m
from catalog.strict_json import to_json
from geosr.change.calm import CalmDifference
from geosr.change.dates import ProductReader, Registered, Registration, SceneReader, register
from geosr.change.districts import (
    DistrictChange,
    DistrictsFile,
    change_in_districts,
    check_place,
    district_notes,
    write_districts,
)
from geosr.change.grid import Grid
from geosr.change.indices import INDICES, SpectralIndex
from geosr.change.item import item_text
from geosr.change.polygons import write_polygons
from geosr.change.rasters import Least, map_grid, write_map, write_styles
from geosr.change.request import ChangeRequest, names_of, product_path, reports_of, targets_of
from geosr.change.result import (
    ChangeResult,
    Totals,
    grid_notes,
    level_notes,
    registration_notes,
)
from geosr.change.situation_map import MapSubject, draw_map
from geosr.errors import GeosrError, UsageError
from geosr.maps.outputs import MapOutputs, has_style
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
    districts = request.districts.read() if request.districts is not None else []
    scenes = _open_both(request, index, model)
    _check_apart(targets, scenes, request.districts)
    if request.districts is not None:
        check_place(districts, scenes[0].geobox[scenes[0].area.toslices()], request.districts.path)
    products = [
        _product(request, scene, name, model, reporter)
        for scene, name in zip((request.before, request.after), ("before", "after"), strict=True)
    ]
    reporter.stage("comparing the dates")
    registration, grids = _grids(index, scenes, products)
    with TemporaryDirectory(dir=request.output.absolute().parent, prefix=f".{request.output.stem}-") as name:
        folder = Path(name)
        levels = grids[0].levels(request.least)
        if levels.factor >= 1 and registration.harmonised:
            # Lines over ground most of which has changed would bring a flood to the radiometry of land.
            registration, grids = _grids(index, scenes, products, registration.as_they_lie())
            levels = grids[0].levels(request.least)
        notes = registration_notes(registration) + level_notes(levels)
        coarse = replace(grids[1], flat_width=levels.width)
        calm = CalmDifference(coarse, levels.centre, grids[0].size[0] // coarse.size[0])
        least = Least(request.least, request.least_hectares)
        fine, areas = map_grid(grids[0], levels, least, folder / "fine", calm)
        source, source_areas = map_grid(coarse, coarse.levels(request.least), least, folder / "source")
        notes += grid_notes(fine, source)
        drafts = {
            "map": folder / "map.tif",
            "difference": folder / "difference.tif",
        }
        write_map(grids[0], areas, folder / "fine", drafts["map"], drafts["difference"], index)
        meanings = index.less, index.more
        by_district: tuple[DistrictChange, ...] = ()
        if districts:
            pixel = grids[0].pixel_hectares
            by_district = change_in_districts(districts, areas, source_areas, drafts["map"], pixel, meanings)
            notes += district_notes(districts, by_district)
            drafts["districts"] = folder / "districts.csv"
            write_districts(by_district, drafts["districts"])
        if request.polygons is not None:
            drafts["polygons"] = folder / f"polygons{request.polygons.suffix}"
            write_polygons(areas, drafts["polygons"], grids[0].crs, meanings)
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
            by_district,
        )
        for key, report in reports_of(request).items():
            drafts[key] = folder / f"{key}{report.suffix}"
            draw_map(_subject(result, index, products, drafts["map"], scenes), drafts[key])
        if request.style:
            drafts |= write_styles(drafts["map"], drafts["difference"], index)
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


def _check_apart(targets: dict[str, Path], scenes: list[Scene], districts: DistrictsFile | None) -> None:
    """Refuse outputs that would replace what is read."""
    read = [name for scene in scenes for name in scene.files] + ([] if districts is None else [str(districts.path)])
    for path in targets.values():
        for source in read:
            if path.exists() and path.samefile(source):
                raise UsageError(f"{path} is a source: write to another file")


def _open_both(request: ChangeRequest, index: SpectralIndex, model: ModelRef) -> list[Scene]:
    scenes = [open_for_model(one, model.card) for one in (request.before, request.after)]
    names = names_of(request, scenes)
    if scenes[0].identity == scenes[1].identity:
        raise UsageError(f"both dates are {names[0]}: name two scenes, the earlier one first")
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


def _grids(
    index: SpectralIndex, scenes: list[Scene], products: list[Path], registration: Registration | None = None
) -> tuple[Registration, list[Grid]]:
    """Both dates on the products' grid and on the sources', by a registration; None measures it."""
    before = scenes[0]
    size = (int(before.area.height), int(before.area.width))
    specs = [tuple(scene.bands[scene.names.index(band)] for band in index.bands) for scene in scenes]
    readers = [ProductReader(path, bands) for path, bands in zip(products, specs, strict=True)]
    sources = [SceneReader(scene, index.bands) for scene in scenes]
    transfers = [band.mtf_nyquist or _TYPICAL_TRANSFER for band in specs[0]]
    with rasterio.open(products[0]) as raster:
        fine_size, fine_transform, crs = raster.shape, raster.transform, raster.crs
    scale = fine_size[0] // size[0]
    registration = registration or register(readers[0], readers[1], sources[1], size, scale, transfers)
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
        [
            (
                str(one.district),
                one.change,
                f"{one.hectares:.2f}",
                f"{one.hectares_low:.2f} to {one.hectares_high:.2f}",
                f"{one.source_hectares:.2f}",
            )
            for one in result.districts
        ],
    )


def _sources(scenes: list[Scene]) -> list[str]:
    return [f"source: {Path(scene.sources[0]).name if scene.sources else scene.id}" for scene in scenes]
