"""The main job, from a request to a published product. It reads top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import catalog
import tiling
from geosr.engine.chunking import choose_parallel
from geosr.inference.scene_calibration import calibrate_area
from geosr.inference.upscaler import Upscaler, upscaler_of
from geosr.progress import QuietReporter, Reporter
from geosr.run.checkpoint import Ledger, open_ledger
from geosr.run.chunk import ChunkJob
from geosr.run.dates import sentence
from geosr.run.definition import define_run
from geosr.run.executor import open_executor
from geosr.run.item_file import ItemFile
from geosr.run.product import aggregate_consistency, notes_of, shares_of_dates, tags_of
from geosr.run.publishing import Published, finished_earlier, follow_link, occupants_of, paths_of, publish
from geosr.run.request import Cluster, UpscaleRequest
from geosr.run.storage_options import share_settings
from geosr.run.upscale_run import Run
from tiling import Location, Occupant

#: Times that a product is assembled, when chunks turn out to be damaged: more often, it is the disk.
_ASSEMBLIES = 3


def super_resolve(request: UpscaleRequest, reporter: Reporter | None = None) -> Published:
    """Upscale a scene to a COG with a STAC Item beside it.

    Killed at any moment and called again, it computes what is missing and leaves the same bytes.

    Raises :class:`geosr.errors.GeosrError`, :class:`catalog.CatalogError` or :class:`tiling.TilingError`.
    """
    share_settings()
    reporter = reporter or QuietReporter()
    request = _follow_link(request, reporter)
    with catalog.announcing(reporter.note):
        run = define_run(request)
        for note in run.scene.notes:
            reporter.note(note)

        with open_ledger(run, restart=request.restart) as ledger, _ending(reporter):
            occupants = occupants_of(run)
            item_file = ItemFile.of(run.output, overwrite=run.overwrite)
            if item_file.in_the_way is not None:
                reporter.note(
                    f"{item_file.in_the_way} is no STAC Item of this product: the Item goes to {item_file.path}"
                )
            published = finished_earlier(run, item_file)
            if published is not None:
                reporter.note(f"{run.output} is up to date: nothing to do")
                return published
            parallel = choose_parallel(run.model.engine, len(run.plan))
            upscaler = upscaler_of(run.model, parallel)

            ledger.computing = True
            folder, digest = ledger.folder.absolute(), run.manifest.digest
            job = ChunkJob(_calibrate(_survey(run, reporter), upscaler), folder, digest, parallel)
            made = _compute_and_assemble(job, ledger, request.cluster, occupants, reporter)
            for layer in made.run.layers:
                tiling.move(ledger.ready(layer.name), layer.path, expected=occupants.get(layer.path))
            item = publish(made.run, made.run.layers, item_file)
            layers = paths_of(made.run.layers)
            return Published(run.output, item, made.computed, len(run.plan), made.consistency_dn, layers)


def _follow_link(request: UpscaleRequest, reporter: Reporter) -> UpscaleRequest:
    output = follow_link(request.output)
    if output == request.output:
        return request
    reporter.note(f"{request.output} is a link: the product goes to {output}")
    return replace(request, output=output)


@contextmanager
def _ending(reporter: Reporter) -> Iterator[None]:
    try:
        yield
    finally:
        reporter.end()


def _survey(run: Run, reporter: Reporter) -> Run:
    """The run with the dates that take part, where it has several."""
    if run.dates is None:
        return run
    # PyTorch takes seconds to load: not before the run is known to be needed.
    from geosr.run.date_survey import survey_dates_of

    dates = survey_dates_of(run.dates, run.scene, run.plan.area, run.card)
    for entry in dates.report:
        reporter.note(f"date {sentence(entry)}")
    return replace(run, dates=dates)


def _calibrate(run: Run, upscaler: Upscaler) -> Run:
    """The run with half-widths calibrated on its own scene, where there are any."""
    if run.uncertainty is None:
        return run
    uncertainty = calibrate_area(run.plan.area, run.scene.reader.read, upscaler, run.uncertainty.calibration)
    return replace(run, uncertainty=uncertainty)


@dataclass(frozen=True)
class _Assembled:
    """A product in its place, its layers ready to be moved there."""

    run: Run
    """With the warnings of its chunks."""
    consistency_dn: Mapping[str, float]
    computed: int
    """Chunks computed for it."""


def _compute_and_assemble(
    job: ChunkJob, ledger: Ledger, cluster: Cluster, occupants: Mapping[Location, Occupant], reporter: Reporter
) -> _Assembled:
    """Compute the pending chunks and assemble all; those that are damaged by then are computed anew."""
    computed = 0
    for attempt in range(1, _ASSEMBLIES + 1):
        computed += _compute(job, ledger, cluster, reporter)
        # Its chunks would be of two sources; without them the next attempt starts anew.
        catalog.check_unchanged(job.run.scene)
        reporter.stage("assembling")
        try:
            return _assemble(job, ledger, occupants, computed)
        except tiling.DamagedChunkError as error:
            damaged = ledger.forget_damaged(error.path)
            if attempt == _ASSEMBLIES:
                raise
            reporter.note(f"{damaged} of {len(job.run.plan)} chunks are damaged since they were written: computed anew")
    raise AssertionError("the last attempt returns or raises")


def _compute(job: ChunkJob, ledger: Ledger, cluster: Cluster, reporter: Reporter) -> int:
    """Compute the pending chunks, report each, and return their number."""
    plan, pending = job.run.plan, ledger.pending()
    total, finished = len(plan), len(plan) - len(pending)
    reporter.begin(_describe(job.run), total, finished, plan.area.width * plan.area.height)
    noted: set[str] = set()
    with open_executor(cluster.workers, cluster.scheduler) as executor:
        for chunk in executor.run(job, pending):
            finished += 1
            reporter.chunk(chunk.key, finished, total)
            if chunk.note is not None and chunk.note not in noted:
                reporter.note(chunk.note)
                noted.add(chunk.note)
    return len(pending)


def _assemble(job: ChunkJob, ledger: Ledger, occupants: Mapping[Location, Occupant], computed: int) -> _Assembled:
    """Assemble layers and product from the files of chunks. Raises :class:`tiling.DamagedChunkError`."""
    run, cores = job.run, job.parallel.concurrent_chunks * job.parallel.threads
    files = ledger.files()
    consistency = aggregate_consistency(run.plan, files, run.scene)
    # Chunks that an earlier attempt has finished have warnings as well.
    run = replace(run, scene=run.scene.with_warnings(*notes_of(files)))
    if run.dates is not None:
        run = replace(run, dates=run.dates.with_shares(shares_of_dates(run, files)))
    tags = tags_of(run, consistency)
    for layer in run.layers:
        own = layer.tagged(tags)
        tiling.mosaic(run.plan, ledger.files(layer.name), own, ledger.ready(layer.name), ledger.folder, cores)
    product, expected = replace(run.product, tags=tags), occupants.get(run.output)
    tiling.mosaic(run.plan, files, product, run.output, ledger.folder, cores, expected=expected)
    return _Assembled(run, consistency, computed)


def _describe(run: Run) -> str:
    area, scale = run.plan.area, run.plan.scale
    return (
        f"{run.scene.id}: {', '.join(run.scene.names)}, {area.width}×{area.height} pixels to "
        f"{area.width * scale}×{area.height * scale}, model {run.model.model.name}, {run.model.engine}, "
        f"{len(run.plan)} chunks"
    )
