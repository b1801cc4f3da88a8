"""The command ``geosr batch``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json
from geosr.cli.scene_request import SearchOptions, SourceOptions, band_list, scene_request

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
    clip: opt.Clip = False,
    all_touched: opt.AllTouched = False,
    when: opt.When = None,
    max_cloud: opt.MaxCloud = None,
    api: opt.Api = None,
    collection: opt.Collection = None,
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
        import catalog
        from geosr.batch.folder import run_batch
        from geosr.batch.scenes import scenes_of, scenes_of_items
        from geosr.batch.summary import PAGE, counts, summary_of
        from geosr.engine import EngineChoice
        from geosr.model.zoo import ModelRef
        from geosr.progress import reporter_for
        from geosr.run.request import Cluster, UpscaleRequest
        from geosr.settings import settings

        if clip and bbox is None and aoi is None:
            raise usage("--clip cuts to an area: give it with --aoi or --bbox")
        if all_touched and not clip:
            raise usage("--all-touched is a rule for --clip: give both")
        if "://" in output:
            raise usage(f"a batch writes to a folder on a disk, not to {output}")
        search = SearchOptions(bbox, aoi, when, max_cloud, api, collection, layer, where)
        if sources:
            scenes = scenes_of(sources)
            # Options that would search are refused beside sources.
            template = scene_request(
                SourceOptions(scenes[0].source, bands, scale, offset, nodata, sensor=sensor),
                search,
                mask_clouds=mask_clouds,
                crs=crs,
            )
        else:
            template = scene_request(None, search, mask_clouds=mask_clouds, crs=crs)
            assert template.area is not None
            assert template.datetime is not None
            items = catalog.search(
                catalog.Query(template.area, template.datetime, template.api, template.collection, template.max_cloud)
            )
            scenes = scenes_of_items(items)
            of_items = scene_request(SourceOptions("item", bands, scale, offset, nodata, sensor=sensor))
            template = replace(of_items, area=template.area, mask_clouds=mask_clouds, crs=crs)
        defaults = settings()
        kept = None if keep is None else band_list("--keep", keep)

        def request_of(scene: BatchScene, product: Path) -> UpscaleRequest:
            return UpscaleRequest(
                scene=replace(template, source=scene.source),
                output=product,
                model=ModelRef(model or defaults.model),
                engine=EngineChoice(),
                cluster=Cluster(workers or 0, scheduler),
                core_px=defaults.core_px,
                uncertainty=uncertainty,
                keep=kept,
                clip=("all touched" if all_touched else "centres") if clip else None,
                overwrite=overwrite,
            )

        outcomes = run_batch(scenes, request_of, Path(output), reporter_for(as_json=as_json, quiet=quiet), style=style)
        if as_json:
            print_json(summary_of(outcomes, len(scenes)))
        else:
            told = "{made} made, {skipped} there already, {refused} refused".format(**counts(outcomes))
            typer.echo(f"{told}: {Path(output) / PAGE}")
        if counts(outcomes)["refused"]:
            raise typer.Exit(1)
