"""The run of a batch, scene by scene into one folder: finished products are skipped, failures reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from catalog import CatalogError
from geosr.batch.collection import write_collection
from geosr.batch.parallel import run_scenes, share_cluster
from geosr.batch.scenes import BatchScene
from geosr.batch.summary import Outcome, State, write_summary
from geosr.errors import GeosrError, UsageError
from geosr.maps.outputs import MapOutputs
from geosr.progress import Reporter
from geosr.run.locks import lock_folder
from geosr.run.pipeline import super_resolve
from geosr.run.request import Cluster, UpscaleRequest
from geosr.run.uncertainty_layers import layer_paths
from tiling import TilingError

#: Threads of this process compute.
_THREADS = Cluster()

#: Folder of the lock; it stays, empty but for the lock.
_LOCKED = ".geosr-batch"


def run_batch(
    scenes: Sequence[BatchScene],
    request_of: Callable[[BatchScene, Path], UpscaleRequest],
    folder: Path,
    reporter: Reporter,
    *,
    style: bool = False,
    cluster: Cluster = _THREADS,
) -> list[Outcome]:
    """Upscale each scene to ``folder/NAME.tif``, with a thumbnail, and describe the folder.

    Killed and called again, it goes on where it was: products that are there are skipped, and an unfinished one is
    resumed. An error of one scene ends that scene alone.

    Parameters
    ----------
    scenes
        Scenes with names of their own.
    request_of
        Makes the request for a scene, from it and the path of its product.
    folder
        Folder of the products, which is made where there is none.
    reporter
        Progress of the scenes.
    style
        Also write QGIS styles.
    cluster
        Workers that compute; with some, as many scenes at a time as they have threads.

    Returns
    -------
    list[Outcome]
        What became of each scene, in their order.

    Raises
    ------
    UsageError
        The folder holds one of the sources.
    ResumeError
        Another process is at the folder.
    WorkerError
        No scheduler answers.
    tiling.OutputError
        The folder cannot be written.

    """
    for source in dict.fromkeys(source for scene in scenes for source in scene.sources):
        if "://" not in source and Path(source).resolve().parent == folder.resolve():
            raise UsageError(f"{source} is in the folder of the products: write them to another folder")
    _check_layers(scenes, folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"the output {folder} is a file: name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder / _LOCKED, folder)
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.reason:
            reporter.note(f"{outcome.name} is refused: {outcome.reason}")

    try:
        with share_cluster(cluster, len(scenes)) as shared:

            def upscale(scene: BatchScene, listener: Reporter) -> Outcome:
                if scene.fault:
                    return _refused(scene, scene.fault)
                request = request_of(scene, folder / f"{scene.name}.tif")
                return _upscale(scene, replace(request, cluster=shared.cluster), listener, style)

            run_scenes([(scene.name, scene) for scene in scenes], upscale, reporter, shared.at_once, done)
        return outcomes
    finally:
        try:
            for name in write_collection(folder)[1]:
                reporter.note(f"{name} is left out of the Collection, for its STAC Item was changed and is malformed")
            write_summary(folder, outcomes, len(scenes))
        finally:
            lock.release()


def _check_layers(scenes: Sequence[BatchScene], folder: Path) -> None:
    """Refuse scenes whose product would be in the place of a layer of another one's."""
    products = {folder / f"{scene.name}.tif": scene for scene in scenes}
    for product, scene in products.items():
        for taken in sorted(products.keys() & layer_paths(product)):
            raise UsageError(
                f"{products[taken].source} would have its product where layers of {scene.source} go, {taken.name}: "
                "rename one of them, or give them folders of their own"
            )


def _upscale(
    scene: BatchScene,
    request: UpscaleRequest,
    reporter: Reporter,
    style: bool,
) -> Outcome:
    product = Path(str(request.output))
    thumbnail = product.with_suffix(".png")
    before = _stamp(product)
    try:
        maps = MapOutputs(preview=thumbnail, style=style)
        maps.check(product, scene.sources, overwrite=request.overwrite)
        published = super_resolve(request, reporter)
        maps.write(published)
    except (GeosrError, CatalogError, TilingError) as error:
        return _refused(scene, str(error))
    state: State = "skipped" if before is not None and _stamp(product) == before else "made"
    return Outcome(scene.name, ", ".join(scene.sources), state, product=product.name, thumbnail=thumbnail.name)


def _refused(scene: BatchScene, reason: str) -> Outcome:
    return Outcome(scene.name, ", ".join(scene.sources), "refused", " ".join(reason.split()))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Identity of a file on its disk: a product that is made anew is another file."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
