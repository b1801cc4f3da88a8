"""The main job, from a request to a published product. It reads top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rasterio.windows import Window

import catalog
import tiling
from catalog import Scene, SceneRequest
from geosr.engine import Device, EngineName, EngineSpec, Precision, choose_engine
from geosr.engine.chunking import check_core, choose_core, choose_parallel
from geosr.errors import UsageError, WorkerError
from geosr.inference.scene_calibration import calibration_windows, measure_factors
from geosr.inference.upscaler import ModelSpec, upscaler_of
from geosr.model.bands import coarse_bands, map_bands
from geosr.model.card import ModelCard
from geosr.model.purpose import notes_for
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.progress import QuietReporter, Reporter
from geosr.run.checkpoint import Ledger, unfinished
from geosr.run.chunk import ChunkJob
from geosr.run.executor import open_executor
from geosr.run.item_file import ItemFile
from geosr.run.manifest import Manifest
from geosr.run.product import (
    NOT_FOR_MEASURING,
    Published,
    aggregate_consistency,
    check_output,
    finished_earlier,
    follow_link,
    notes_of,
    occupants_of,
    paths_of,
    product_of,
    publish,
    tags_of,
)
from geosr.run.storage_options import share_settings
from geosr.run.uncertainty_layers import check_calibrated, layers_of
from geosr.version import VERSION
from tiling import Chunk, ChunkPlan, Compression, Location

#: Times that a product is assembled, when chunks turn out to be damaged: more often, it is the disk.
_ASSEMBLIES = 3


@dataclass(frozen=True)
class UpscaleRequest:
    """What to upscale, how, and where to."""

    scene: SceneRequest
    output: Location
    model: str = DEFAULT_MODEL
    engine: EngineName = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    compiled: bool = False
    """Let PyTorch compile the network."""
    core_px: int | None = None
    """Side of a chunk, LR pixels; None to choose."""
    workers: int = 0
    """Worker processes on this machine; 0 for threads of this one."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute the chunks."""
    compression: Compression = "zstd"
    uncertainty: bool = False
    """Also write half-widths and measured fraction, see :mod:`geosr.run.uncertainty_layers`."""
    max_pixels: int | None = None
    """Most source pixels that are upscaled at once, of one band; None for any number."""
    overwrite: bool = False
    """Replace an output that is another run's."""
    restart: bool = False
    """Forget an unfinished run with other settings."""
    sharpness: float = 0.0
    """Share of the model's visual weights, 0 to 1; above 0 the product is one to look at."""


def super_resolve(request: UpscaleRequest, reporter: Reporter | None = None) -> Published:
    """Upscale a scene to a COG with a STAC Item beside it.

    Killed at any moment and called again, it computes what is missing and leaves the same bytes.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    share_settings()
    reporter = reporter or QuietReporter()
    request = replace(request, output=follow_link(linked := request.output))
    if request.output != linked:
        reporter.note(f"{linked} is a link: the product goes to {request.output}")
    with catalog.announcing(reporter.note):
        return _super_resolve(request, reporter)


def _super_resolve(request: UpscaleRequest, reporter: Reporter) -> Published:
    check_output(request.output, layers=request.uncertainty)
    card = read_card(request.model, request.sharpness)
    calibration = check_calibrated(card) if request.uncertainty else None
    scene = open_for_model(request.scene, card)
    _check_size(scene, request.max_pixels)
    engine = choose_engine(
        request.engine,
        request.device,
        request.precision,
        network=card.learned,
        stack=card.stack is not None,
        compiled=request.compiled,
    )
    if engine.precision != "float32":
        moved = "about 1 DN" if engine.precision == "float16" else "some DN"
        scene = scene.noting(f"the network ran in {engine.precision}: {moved} from float32, also between chunk sizes")
    if calibration is not None and scene.picture:
        scene = scene.noting("half-widths are calibrated for reflectance: of a picture they are a guess")
    if card.sharpness:
        scene = scene.noting(f"visual product, sharpness {card.sharpness:g}: {NOT_FOR_MEASURING}")
    for note in scene.notes:
        reporter.note(note)

    model = ModelSpec(
        request.model, card.digest_in(engine.precision), engine, scene.bands, scene.picture, request.sharpness
    )
    plan = ChunkPlan(scene.geobox, scene.area, card.scale, _core_px(request, card, engine, scene), card.halo_px)
    product = product_of(scene, request.compression)
    layers = () if calibration is None else layers_of(request.output, scene, product, calibration)
    names = [layer.name for layer in layers]
    manifest = Manifest.of(scene, card, model, plan, product, VERSION, names)
    ledger = Ledger.open(request.output, manifest, plan, layers=names, restart=request.restart)
    keep = ledger.finished > 0
    try:
        occupants = occupants_of(request.output, layers, overwrite=request.overwrite)
        item_file = ItemFile.of(request.output, overwrite=request.overwrite)
        if item_file.in_the_way is not None:
            reporter.note(f"{item_file.in_the_way} is no STAC Item of this product: the Item goes to {item_file.path}")
        done = finished_earlier(
            request.output,
            scene,
            card,
            plan,
            product,
            manifest,
            layers,
            item_file=item_file,
            overwrite=request.overwrite,
        )
        if done is not None:
            keep = False
            reporter.note(f"{request.output} is up to date: nothing to do")
            return done

        parallel = choose_parallel(engine, len(plan))
        upscaler = upscaler_of(model, parallel)
        keep = False
        factors: tuple[float, ...] = ()
        if calibration is not None:
            squares = calibration_windows(plan.area, plan.scale, calibration)
            factors = measure_factors(map(scene.reader.read, squares), upscaler, calibration)
            layers = tuple(layer.scaled(dict(zip(card.bands or (), factors, strict=False))) for layer in layers)
        job = ChunkJob(
            scene, model, plan, product, ledger.folder.absolute(), manifest.digest, layers, factors, parallel
        )
        cores = parallel.concurrent_chunks * parallel.threads
        computed = 0
        for attempt in range(_ASSEMBLIES):
            pending = ledger.pending()
            computed += len(pending)
            finished = len(plan) - len(pending)
            reporter.begin(_describe(scene, model, plan), len(plan), finished, plan.area.width * plan.area.height)
            _compute(request, job, pending, reporter)
            # Its chunks would be of two sources; without them the next attempt starts anew.
            catalog.check_unchanged(scene)
            reporter.stage("assembling")
            try:
                files = ledger.files()
                consistency = aggregate_consistency(plan, files, scene)
                # Chunks that an earlier attempt has finished have theirs to say as well.
                noted = scene.noting(*notes_of(files))
                tags = tags_of(noted, card, model, manifest, consistency)
                for layer in layers:
                    own = layer.tagged(tags)
                    tiling.mosaic(plan, ledger.files(layer.name), own, ledger.ready(layer.name), ledger.folder, cores)
                tiling.mosaic(
                    plan,
                    files,
                    replace(product, tags=tags),
                    request.output,
                    ledger.folder,
                    cores,
                    expected=occupants.get(request.output),
                )
                break
            except tiling.DamagedChunkError as error:
                damaged = ledger.forget_damaged(error.path)
                if attempt + 1 == _ASSEMBLIES:
                    raise
                reporter.note(f"{damaged} of {len(plan)} chunks are damaged since they were written: computed anew")
        scene = noted
        for layer in layers:
            tiling.move(ledger.ready(layer.name), layer.path, expected=occupants.get(layer.path))
        item = publish(
            request.output,
            scene,
            card,
            plan,
            product,
            manifest,
            layers,
            item_file=item_file,
            overwrite=request.overwrite,
        )
        return Published(request.output, item, computed, len(plan), consistency, paths_of(layers))
    except (KeyboardInterrupt, MemoryError, catalog.UnreachableError, tiling.OutputError, WorkerError) as error:
        # The same run later, with more space or with fewer workers, may go on from here; no other error is mended so.
        keep = ledger.finished > 0
        if keep and isinstance(error, tiling.DiskFullError):
            raise tiling.DiskFullError(f"{error}; what is finished is kept, and the same command goes on") from error
        raise
    finally:
        reporter.end()
        if keep:
            ledger.close()
        else:
            ledger.remove()


def _compute(request: UpscaleRequest, job: ChunkJob, pending: Sequence[Chunk], reporter: Reporter) -> None:
    """Compute the pending chunks, and report each."""
    total = len(job.plan)
    finished = total - len(pending)
    told: set[str] = set()
    with open_executor(request.workers, request.scheduler) as executor:
        for chunk in executor.run(job, pending):
            finished += 1
            reporter.chunk(chunk.key, finished, total)
            if chunk.note is not None and chunk.note not in told:
                reporter.note(chunk.note)
                told.add(chunk.note)


def open_for_model(request: SceneRequest, card: ModelCard) -> Scene:
    """The scene of a request with the bands that a model serves.

    Raises :class:`geosr.errors.ModelError` or :class:`catalog.CatalogError`.
    """
    scene = catalog.open_scene(
        replace(request, default_bands=card.bands or request.default_bands, default_sensor=card.sensor)
    )
    roles = [band.role for band in scene.bands]
    mapping = map_bands(scene.names, card, picture=scene.picture, roles=roles, asked=request.bands)
    restricted = _restrict(scene, mapping.keep, mapping.note)
    if card.stack is not None:
        restricted = _in_whole_blocks(restricted, card)
    # A picture's pixels have no size, and its camera is nobody's.
    finest = min((band.gsd_m for band in restricted.bands if band.gsd_m is not None), default=None)
    known = (None, None) if scene.picture else (scene.sensor, finest)
    return restricted.noting(*notes_for(card, *known))


def _in_whole_blocks(scene: Scene, card: ModelCard) -> Scene:
    """The scene with an area that begins and ends where its coarse bands' pixels do."""
    span, area = card.span, scene.area
    rows, cols = (
        (start // span * span, min(-(-(start + length) // span) * span, side))
        for start, length, side in (
            (area.row_off, area.height, scene.geobox.shape.y),
            (area.col_off, area.width, scene.geobox.shape.x),
        )
    )
    whole = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
    coarse = [band for band in scene.bands if band.name in coarse_bands(card)]
    scene = replace(scene, area=whole)
    finest = min((band.gsd_m for band in scene.bands if band.gsd_m is not None), default=None)
    if all(band.gsd_m is not None and finest is not None and band.gsd_m >= span * finest for band in coarse):
        return scene
    return scene.noting(
        f"{', '.join(band.name for band in coarse)}: the source has them on its finest bands' grid; blocks of "
        f"{span} × {span} of its pixels are taken for one of theirs"
    )


def _check_size(scene: Scene, most: int | None) -> None:
    pixels = scene.area.width * scene.area.height
    if most is not None and pixels > most:
        raise UsageError(f"{scene.id} has {pixels} pixels here, and no more than {most} are upscaled at once")


def _core_px(request: UpscaleRequest, card: ModelCard, engine: EngineSpec, scene: Scene) -> int:
    """The side of chunks: as told, as in an unfinished run, or as the machine has the memory for."""
    if request.core_px is not None:
        check_core(card, request.core_px)
        return request.core_px
    begun = None if request.restart else unfinished(request.output)
    chosen = None if begun is None else begun.core_px
    sides = (scene.area.height, scene.area.width)
    processes = max(1, request.workers)
    return chosen or choose_core(card, engine, len(scene.bands), sides, processes, uncertainty=request.uncertainty)


def _restrict(scene: Scene, keep: tuple[str, ...], note: str | None) -> Scene:
    """The scene with the bands that the model serves, saying which are left out."""
    left_out = [name for name in scene.names if name not in keep]
    scene = scene.select(keep)
    if left_out:
        scene = scene.noting(f"bands left out, for the model does not know them: {', '.join(left_out)}")
    return scene.noting(note) if note else scene


def _describe(scene: Scene, model: ModelSpec, plan: ChunkPlan) -> str:
    area = plan.area
    return (
        f"{scene.id}: {', '.join(scene.names)}, {area.width}×{area.height} pixels to "
        f"{area.width * plan.scale}×{area.height * plan.scale}, model {model.model}, {model.engine}, {len(plan)} chunks"
    )
