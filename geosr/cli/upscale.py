"""The command ``geosr upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_published
from geosr.cli.run_request import clip_of, cluster_of, compression_of, dates_of, engine_of, model_of
from geosr.cli.scene_request import SearchOptions, SourceOptions, band_list, scene_request

if TYPE_CHECKING:
    from tiling import Location


def upscale(
    output: opt.Output,
    sources: opt.Sources = None,
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
    dates: opt.Dates = None,
    reference: opt.Reference = None,
    fill: opt.Fill = False,
    mask_clouds: opt.MaskClouds = False,
    crs: opt.Crs = None,
    bands: opt.Bands = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    plain_image: opt.PlainImage = False,
    sensor: opt.Sensor = None,
    acquired: opt.Acquired = None,
    model: opt.Model = None,
    sharpness: opt.Sharpness = 0.0,
    engine: opt.Engine = None,
    device: opt.Device = None,
    precision: opt.Precision = None,
    compiled: opt.Compile = False,
    core: opt.Core = None,
    workers: opt.Workers = None,
    scheduler: opt.Scheduler = None,
    compression: opt.Compression = None,
    uncertainty: opt.Uncertainty = False,
    date_weights: opt.DateWeights = False,
    keep: opt.Keep = None,
    preview: opt.Preview = None,
    rgb8: opt.Rgb8 = None,
    style: opt.Style = False,
    overwrite: opt.Overwrite = False,
    restart: opt.Restart = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale a scene four times: a Cloud-Optimized GeoTIFF with a STAC Item beside it.

    Interrupted, the same command goes on where it was.
    """
    with errors(debug):
        import tiling
        from geosr.batch.scenes import expand
        from geosr.maps.outputs import MapOutputs
        from geosr.progress import reporter_for
        from geosr.run.pipeline import super_resolve
        from geosr.run.request import UpscaleRequest
        from geosr.settings import settings

        chosen = model_of(model, sharpness)
        place = tiling.locate(output)
        _check_item_path(place, aoi, model)
        cluster = cluster_of(workers, scheduler)
        search = SearchOptions(bbox, aoi, when, max_cloud, api, collection, layer, where)
        cut = clip_of(search, clip=clip, all_touched=all_touched)
        several = dates_of(dates, reference)
        if date_weights and several is None:
            raise usage("--date-weights are of several dates: give --dates or --reference")
        named = expand(sources) if sources else []
        request = UpscaleRequest(
            scene=scene_request(
                SourceOptions(
                    (named or [""])[0] or None,
                    bands,
                    scale,
                    offset,
                    nodata,
                    plain_image,
                    sensor,
                    acquired,
                    more=tuple(named[1:]),
                ),
                search,
                fill=fill,
                mask_clouds=mask_clouds,
                crs=crs,
            ),
            output=place,
            model=chosen,
            engine=engine_of(engine, device, precision, compiled=compiled),
            cluster=cluster,
            core_px=core or settings().core_px,
            compression=compression_of(compression),
            clip=cut,
            keep=None if keep is None else band_list("--keep", keep),
            uncertainty=uncertainty,
            dates=several,
            date_weights=date_weights,
            overwrite=overwrite,
            restart=restart,
        )
        maps = MapOutputs(
            preview=None if preview is None else tiling.locate(preview),
            rgb8=None if rgb8 is None else tiling.locate(rgb8),
            style=style,
        )
        maps.check(place, named, overwrite=overwrite)
        published = super_resolve(request, reporter_for(as_json=as_json, quiet=quiet))
        beside = {**published.layers, **maps.write(published)}
        print_published(published, as_json=as_json, **{name: str(path) for name, path in beside.items()})


def _check_item_path(output: Location, aoi: Path | None, model: str | None) -> None:
    """The STAC Item has the output's name, and must not replace JSON that this command reads."""
    from geosr.run.item_file import item_path

    item = item_path(output)
    if not isinstance(item, Path) or not item.exists():
        return
    for read in (aoi, Path(model) if model else None):
        if read is not None and read.exists() and read.samefile(item):
            raise usage(f"the STAC Item of {output} would replace {read}: write to another file")
