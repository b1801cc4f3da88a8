"""The main job, from a request to a published product. It reads top to bottom."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import catalog
import tiling
from catalog import Scene, SceneRequest
from geosr.engine import Device, Precision, choose_engine
from geosr.errors import WorkerError
from geosr.jobs.executor import map_unordered, open_executor
from geosr.jobs.ledger import Ledger, chunk_path
from geosr.jobs.manifest import Manifest
from geosr.model.bands import map_bands
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.product import (
    Published,
    check_output,
    finished_earlier,
    paths_of,
    product_of,
    publish,
    sum_up,
    tags_of,
)
from geosr.progress import QuietReporter, Reporter
from geosr.rehearsal import measure_factors, rehearsal_windows
from geosr.uncertainty import Layer, check_calibrated, layers_of
from geosr.upscaler import ModelSpec, upscaler_of
from geosr.version import VERSION
from tiling import Chunk, ChunkPlan, Compression, Product

#: Chunks handed out at a time, per worker: one being computed and one waiting.
_AHEAD = 2


@dataclass(frozen=True)
class UpscaleRequest:
    """What to upscale, how, and where to."""

    scene: SceneRequest
    output: Path
    model: str = DEFAULT_MODEL
    device: Device = "auto"
    precision: Precision = "float32"
    core_px: int = 256
    """Side of a chunk, LR pixels."""
    workers: int = 0
    """Worker processes; 0 for threads of this one."""
    compression: Compression = "zstd"
    uncertainty: bool = False
    """Also write half-widths and support, see :mod:`geosr.uncertainty`."""
    overwrite: bool = False
    """Replace an output that is another run's."""
    restart: bool = False
    """Forget an unfinished run with other settings."""


@dataclass(frozen=True)
class ChunkJob:
    """All that computing chunks needs, in any process."""

    scene: Scene
    model: ModelSpec
    plan: ChunkPlan
    product: Product
    folder: Path
    layers: tuple[Layer, ...] = ()
    """What is made beside the product."""
    width_factors: tuple[float, ...] = ()
    """What the scene's half-widths are multiplied by, see :mod:`geosr.rehearsal`."""


def super_resolve(request: UpscaleRequest, reporter: Reporter | None = None) -> Published:
    """Upscale a scene to a COG with a STAC Item beside it.

    Killed at any moment and called again, it computes what is missing and leaves the same bytes.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    reporter = reporter or QuietReporter()
    check_output(request.output)
    card = read_card(request.model)
    calibration = check_calibrated(card) if request.uncertainty else None
    scene = catalog.open_scene(replace(request.scene, default_bands=card.bands or request.scene.default_bands))
    mapping = map_bands(scene.names, card, picture=scene.picture)
    scene = _restrict(scene, mapping.keep, mapping.note)
    engine = choose_engine(request.device, request.precision if card.network else "float32")
    if engine.precision != "float32":
        scene = scene.noting(f"the network ran in {engine.precision}: some DN from float32, also between chunk sizes")
    if calibration is not None and scene.picture:
        scene = scene.noting("half-widths are calibrated for reflectance: of a picture they are a guess")
    for note in scene.notes:
        reporter.note(note)

    model = ModelSpec(request.model, card.digest, engine, scene.bands, scene.picture)
    plan = ChunkPlan(scene.geobox, scene.area, card.scale, request.core_px, card.halo_px)
    product = product_of(scene, request.compression)
    layers = () if calibration is None else layers_of(request.output, scene, product, calibration)
    names = [layer.name for layer in layers]
    manifest = Manifest.of(scene, card, model, plan, product, VERSION, names)
    ledger = Ledger.open(request.output, manifest, plan, layers=names, restart=request.restart)
    keep = ledger.finished > 0
    try:
        done = finished_earlier(
            request.output, scene, card, plan, product, manifest, layers, overwrite=request.overwrite
        )
        if done is not None:
            keep = False
            reporter.note(f"{request.output} is up to date: nothing to do")
            return done

        upscaler = upscaler_of(model)
        keep = False
        factors: tuple[float, ...] = ()
        if calibration is not None:
            squares = rehearsal_windows(plan.area, plan.scale, calibration)
            factors = measure_factors(map(scene.reader.read, squares), upscaler, calibration)
            layers = tuple(layer.scaled(dict(zip(card.bands or (), factors, strict=False))) for layer in layers)
        pending = list(ledger.pending())
        finished = len(plan) - len(pending)
        reporter.begin(_describe(scene, model, plan), len(plan), finished, plan.area.width * plan.area.height)
        compute = partial(compute_chunk, ChunkJob(scene, model, plan, product, ledger.folder, layers, factors))
        with open_executor(request.workers) as executor:
            for key in map_unordered(executor, compute, pending, in_flight=_AHEAD * max(1, request.workers)):
                finished += 1
                reporter.chunk(key, finished, len(plan))

        reporter.stage("assembling")
        consistency = sum_up(plan, ledger.files(), scene)
        tags = tags_of(scene, card, model, manifest, consistency)
        for layer in layers:
            tiling.mosaic(plan, ledger.files(layer.name), layer.tagged(tags), ledger.ready(layer.name), ledger.folder)
        tiling.mosaic(plan, ledger.files(), replace(product, tags=tags), request.output, ledger.folder)
        for layer in layers:
            with tiling.replacing(layer.path) as temporary:
                ledger.ready(layer.name).replace(temporary)
        item = publish(request.output, scene, card, plan, product, manifest, layers)
        return Published(request.output, item, len(pending), len(plan), consistency, paths_of(layers))
    except (KeyboardInterrupt, catalog.UnreachableError, WorkerError):
        # The same run later, or with fewer workers, may go on from here; no other error is mended so.
        keep = ledger.finished > 0
        raise
    finally:
        reporter.end()
        if keep:
            ledger.close()
        else:
            ledger.remove()


def compute_chunk(job: ChunkJob, chunk: Chunk) -> str:
    """Read, upscale and write one chunk; returns its key."""
    upscaler = upscaler_of(job.model)
    window = tiling.grow(chunk.core, upscaler.margin_px)
    pixels, valid = tiling.read_reflected(job.scene.reader.read, window, job.plan.extent.shape)
    result = upscaler(pixels, valid, uncertainty=bool(job.layers), width_factors=job.width_factors)
    geobox = job.plan.geobox[chunk.out.toslices()]
    if result.uncertainty is not None:
        for layer in job.layers:
            part = layer.pixels_of(result.uncertainty)
            tiling.write_chunk(chunk_path(job.folder, chunk, layer.name), part, geobox, layer.product, {})
    # The product's file comes last: it says that the chunk is finished.
    sums = {"CONSISTENCY": json.dumps([result.consistency.count, result.consistency.absolute_dn])}
    tiling.write_chunk(chunk_path(job.folder, chunk), result.image, geobox, job.product, sums)
    return chunk.key


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
