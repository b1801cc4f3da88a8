"""From a request to a run: everything that is decided before a pixel is read."""

from __future__ import annotations

from dataclasses import replace

from catalog import Scene
from catalog.area import outline_on
from catalog.sentinel2 import band_name
from geosr.engine import EngineSpec
from geosr.engine.chunking import check_core, choose_core
from geosr.errors import UsageError
from geosr.inference.upscaled_window import SceneUncertainty
from geosr.inference.upscaler import ModelSpec
from geosr.model.card import ModelCard
from geosr.run.checkpoint import unfinished
from geosr.run.clip import Clip
from geosr.run.dates import OF_REFERENCE_ALONE, RunDates
from geosr.run.product import NOT_FOR_MEASURING, product_of
from geosr.run.publishing import check_output
from geosr.run.request import UpscaleRequest
from geosr.run.scene_of_request import open_dates_for_model, open_for_model
from geosr.run.uncertainty_layers import check_calibrated
from geosr.run.upscale_run import Run
from tiling import ChunkPlan


def define_run(request: UpscaleRequest) -> Run:
    """Choose model, scene, engine and chunks of a request; its half-widths are the model's own so far.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.OutputError`.
    """
    check_output(request.output, layers=request.uncertainty or request.date_weights)
    if request.date_weights and request.dates is None:
        raise UsageError("weights are those of further dates, and the request is for one date: ask for several dates")
    card = request.model.card
    uncertainty = SceneUncertainty(check_calibrated(card)) if request.uncertainty else None
    scene, dates = _opened(request, card)
    _check_size(scene, request.max_pixels)
    engine = request.engine.for_card(card)
    scene = scene.with_warnings(*_warnings(card, engine, scene, uncertainty))
    if dates is not None and uncertainty is not None and uncertainty.calibration.dates is None:
        scene = scene.with_warnings(OF_REFERENCE_ALONE)
    model = ModelSpec.of(request.model, engine, scene.bands, plain_image=scene.plain_image)
    plan = ChunkPlan(scene.geobox, scene.area, card.scale, _core_px(request, engine, scene), card.halo_px)
    product = product_of(scene, request.compression)
    run = Run(scene, model, plan, product, request.output, uncertainty, request.overwrite, dates=dates)
    run = replace(run, keep_dates=request.keep_dates, date_weights=request.date_weights)
    if request.keep is not None:
        run = replace(run, keep=_kept(request.keep, scene))
        run = replace(run, product=product_of(run.written, request.compression))
    return run if request.clip is None else _clipped(run, request)


def _opened(request: UpscaleRequest, card: ModelCard) -> tuple[Scene, RunDates | None]:
    """The scene, or the reference of several dates and the others."""
    if request.dates is None:
        return open_for_model(request.scene, card), None
    series = open_dates_for_model(request.scene, request.dates, card)
    dates = RunDates.of(series, request.dates.count, card)
    return dates.with_files(series.reference), dates


def _clipped(run: Run, request: UpscaleRequest) -> Run:
    """The run cut to its area. Raises :class:`UsageError` where nothing can stand for nodata."""
    nodata = run.product.overview_nodata
    if request.scene.area is None or nodata is None:
        lacking = "no nodata value: give one with --nodata" if nodata is None else "no area: give one"
        raise UsageError(f"{run.scene.id} cannot be cut, for it has {lacking}")
    clip = Clip.of(outline_on(request.scene.area, run.scene.geobox), all_touched=request.clip == "all touched")
    return replace(
        run, clip=clip, scene=run.scene.with_warnings(clip.note), product=replace(run.product, nodata=nodata)
    )


def _kept(names: tuple[str, ...], scene: Scene) -> tuple[int, ...]:
    """Numbers of the bands of these names. Raises :class:`UsageError` for one that is missing or named twice."""
    own = [(band.name, band.description, band.role) for band in scene.bands]
    found = []
    for name in names:
        known = band_name(name) or name
        there = [i for i, texts in enumerate(own) if name in texts or known == texts[0]]
        if not there:
            raise UsageError(f"there is no band {name!r} to keep among {', '.join(scene.names)}")
        found.append(there[0])
    if len(set(found)) < len(found):
        raise UsageError(f"a band is to be kept twice: {', '.join(names)}")
    return tuple(found)


def _warnings(card: ModelCard, engine: EngineSpec, scene: Scene, uncertainty: SceneUncertainty | None) -> list[str]:
    """Sentences about the product that a user has to know of."""
    found = []
    if engine.precision != "float32":
        moved = "about 1 DN" if engine.precision == "float16" else "some DN"
        found.append(f"the network ran in {engine.precision}: {moved} from float32, also between chunk sizes")
    if uncertainty is not None and scene.plain_image:
        found.append("half-widths are calibrated for reflectance: of a plain image they are a guess")
    if card.sharpness:
        found.append(f"visual product, sharpness {card.sharpness:g}: {NOT_FOR_MEASURING}")
    return found


def _check_size(scene: Scene, most: int | None) -> None:
    pixels = scene.area.width * scene.area.height
    if most is not None and pixels > most:
        raise UsageError(f"{scene.id} has {pixels} pixels here, and no more than {most} are upscaled at once")


def _core_px(request: UpscaleRequest, engine: EngineSpec, scene: Scene) -> int:
    """Side of chunks: as requested, as in an unfinished run, or as the machine has the memory for."""
    card = request.model.card
    if request.core_px is not None:
        check_core(card, request.core_px)
        return request.core_px
    begun = None if request.restart else unfinished(request.output)
    if begun is not None and begun.core_px is not None:
        return begun.core_px
    sides, processes = (scene.area.height, scene.area.width), max(1, request.cluster.workers)
    return choose_core(card, engine, len(scene.bands), sides, processes, uncertainty=request.uncertainty)
