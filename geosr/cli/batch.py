"""The command ``geosr batch``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json
from geosr.cli.run_request import clip_of, cluster_of, compression_of, dates_of, engine_of, model_of
from geosr.cli.scene_request import SearchOptions, SourceOptions, band_list, find_items, scene_request

if TYPE_CHECKING:
    from geosr.batch.scenes import BatchScene
    from geosr.run.request import UpscaleRequest


def batch(
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder of the products.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENES…",
            help="Rasters, .SAFE products, STAC Items, folders of them, or a .txt of these; leave out to search.",
            show_default=False,
        ),
    ] = None,
    bbox: opt.Bbox = None,
    aoi: opt.Aoi = None,
    layer: opt.Layer = None,
    where: opt.Where = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COLUMN",
            help="Make a product of each feature of --aoi, cut to it, and name it by this column.",
        ),
    ] = None,
    clip: opt.Clip = False,
    all_touched: opt.AllTouched = False,
    when: opt.When = None,
    max_cloud: opt.MaxCloud = None,
    api: opt.Api = None,
    collection: opt.Collection = None,
    join: Annotated[
        bool, typer.Option("--join", help="Join the STAC Items of one overpass: one product per satellite and day.")
    ] = False,
    dates: opt.Dates = None,
    mask_clouds: opt.MaskClouds = False,
    crs: opt.Crs = None,
    bands: opt.Bands = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    sensor: opt.Sensor = None,
    model: opt.Model = None,
    workers: opt.Workers = None,
    scheduler: opt.Scheduler = None,
    keep: opt.Keep = None,
    uncertainty: opt.Uncertainty = False,
    style: opt.Style = False,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale many scenes: a folder of products with thumbnails that is a STAC Collection.

    What is done already is skipped, so that the same command goes on where it was and, with new scenes, makes these.
    summary.json and summary.html say what was made, skipped and refused. Exit code 1 says that a scene was refused.
    """
    with errors(debug):
        from catalog.features import read_features
        from geosr.batch.features import scenes_of_features
        from geosr.batch.folder import run_batch
        from geosr.batch.scenes import LOOKED_AT, companions_of, join_overpasses, scenes_of, scenes_of_items
        from geosr.batch.summary import PAGE, counts, summary_of
        from geosr.progress import reporter_for
        from geosr.run.request import UpscaleRequest
        from geosr.settings import settings

        search = SearchOptions(bbox, aoi, when, max_cloud, api, collection, layer, where)
        if id_column is not None and aoi is None:
            raise usage("--id names features of --aoi: give it as well")
        cut = clip_of(search, clip=clip or id_column is not None, all_touched=all_touched)
        if "://" in output:
            raise usage(f"a batch writes to a folder on a disk, not to {output}")
        chosen, engine, cluster = model_of(model), engine_of(), cluster_of(workers, scheduler)
        compression = compression_of()
        kept = None if keep is None else band_list("--keep", keep)
        searched = None if sources else scene_request(None, search)
        items = [] if searched is None else find_items(searched)
        scenes = scenes_of(sources or ()) if searched is None else scenes_of_items(items)
        choice = dates_of(dates, None)
        if join:
            if choice is not None:
                raise usage("--join makes one product of an overpass, --dates one of each Item: leave out one of them")
            scenes = join_overpasses(scenes, items)
        others = {} if choice is None else companions_of(scenes, items, LOOKED_AT * (choice.count or 1))
        template = scene_request(
            SourceOptions(scenes[0].source, bands, scale, offset, nodata, sensor=sensor),
            # Beside sources, options that would search are refused.
            search if searched is None else None,
            mask_clouds=mask_clouds,
            crs=crs,
        )
        if searched is not None:
            template = replace(template, area=searched.area)

        reporter = reporter_for(as_json=as_json, quiet=quiet)
        if id_column is not None and aoi is not None:
            features = read_features(aoi, id_column, layer, where)
            scenes, notes = scenes_of_features(scenes, features, template, items)
            for note in notes:
                reporter.note(note)

        def request_of(scene: BatchScene, product: Path) -> UpscaleRequest:
            return UpscaleRequest(
                scene=replace(
                    template,
                    source=scene.source,
                    more_sources=scene.joined or others.get(scene.source, ()),
                    area=template.area if scene.area is None else scene.area,
                ),
                output=product,
                model=chosen,
                engine=engine,
                core_px=settings().core_px,
                compression=compression,
                uncertainty=uncertainty,
                keep=kept,
                clip=cut,
                dates=None if choice is None else replace(choice, reference=scene.source, lenient=True),
                # A new scene may be a better date of one that is made already, and of one that was begun.
                keep_dates=choice is not None,
                restart=choice is not None,
                overwrite=overwrite,
            )

        outcomes = run_batch(scenes, request_of, Path(output), reporter, style=style, cluster=cluster)
        if as_json:
            print_json(summary_of(outcomes, len(scenes)))
        else:
            told = "{made} made, {skipped} there already, {refused} refused".format(**counts(outcomes))
            typer.echo(f"{told}: {Path(output) / PAGE}")
        if counts(outcomes)["refused"]:
            raise typer.Exit(1)
