"""The command ``geosr upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_published
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
        from geosr.engine import Device, EngineChoice, EngineName, Precision
        from geosr.maps.outputs import MapOutputs
        from geosr.model.zoo import ModelRef
        from geosr.progress import reporter_for
        from geosr.run.pipeline import super_resolve
        from geosr.run.request import Cluster, UpscaleRequest
        from geosr.settings import settings

        defaults = settings()
        if model is not None and not model:
            raise usage("--model is empty: leave it out, or name one of `geosr models`")
        place = tiling.locate(output)
        _check_item_path(place, aoi, model)
        if workers and scheduler is not None:
            raise usage("--workers are processes of this machine, --scheduler has its own: give one of them")
        if clip and bbox is None and aoi is None:
            raise usage("--clip cuts to an area: give it with --aoi or --bbox")
        if all_touched and not clip:
            raise usage("--all-touched is a rule for --clip: give both")
        first, *joined = expand(sources) if sources else [""]
        request = UpscaleRequest(
            scene=scene_request(
                SourceOptions(
                    first or None, bands, scale, offset, nodata, plain_image, sensor, acquired, tuple(joined)
                ),
                SearchOptions(bbox, aoi, when, max_cloud, api, collection, layer, where),
                fill=fill,
                mask_clouds=mask_clouds,
                crs=crs,
            ),
            output=place,
            model=ModelRef(model or defaults.model, sharpness),
            engine=EngineChoice(
                _one_of("--engine", engine or defaults.engine, get_args(EngineName)),
                _one_of("--device", device or defaults.device, get_args(Device)),
                _one_of("--precision", precision or defaults.precision, get_args(Precision)),
                compiled,
            ),
            cluster=Cluster(
                workers if workers is not None else 0 if scheduler is not None else defaults.workers,
                scheduler or (None if workers else defaults.scheduler),
            ),
            core_px=core or defaults.core_px,
            compression=_one_of("--compress", compression or defaults.compression, ("zstd", "deflate")),
            clip=("all touched" if all_touched else "centres") if clip else None,
            keep=None if keep is None else band_list("--keep", keep),
            uncertainty=uncertainty,
            overwrite=overwrite,
            restart=restart,
        )
        maps = MapOutputs(
            preview=None if preview is None else tiling.locate(preview),
            rgb8=None if rgb8 is None else tiling.locate(rgb8),
            style=style,
        )
        maps.check(place, overwrite=overwrite)
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


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise usage(f"{option} is {' or '.join(allowed)}, not {value}")
    return value
