"""The command ``geosr``. Each subcommand turns its options into one call, and its result into text or JSON."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from geosr.cli import options as opt
from geosr.cli.errors import errors as _errors
from geosr.cli.errors import fail as _fail
from geosr.cli.errors import usage as _usage
from geosr.cli.evaluate import evaluate
from geosr.cli.models import models
from geosr.cli.pairs import pairs
from geosr.cli.serve import keys, serve
from geosr.cli.train import train
from geosr.run.storage_options import share_settings

if TYPE_CHECKING:
    from tiling import Location

app = typer.Typer(
    name="geosr",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        from geosr.version import VERSION

        typer.echo(f"geosr {VERSION}")
        raise typer.Exit


@app.callback()
def _geosr(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Super-resolution of satellite imagery: four times finer, lined up to the pixel, reflectance kept."""


@app.command()
def upscale(
    output: opt.Output,
    source: opt.Source = None,
    bbox: opt.Bbox = None,
    aoi: opt.Aoi = None,
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
    picture: opt.Picture = False,
    sensor: opt.Sensor = None,
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
    overwrite: opt.Overwrite = False,
    restart: opt.Restart = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale a scene four times: a Cloud-Optimized GeoTIFF with a STAC Item beside it.

    Interrupted, the same command goes on where it was.
    """
    with _errors(debug):
        import tiling
        from geosr.engine import Device, EngineName, Precision
        from geosr.progress import reporter_for
        from geosr.run.pipeline import UpscaleRequest, super_resolve
        from geosr.settings import settings

        defaults = settings()
        if model is not None and not model:
            raise _usage("--model is empty: leave it out, or name one of `geosr models`")
        place = tiling.locate(output)
        _check_item_path(place, aoi, model)
        if workers and scheduler is not None:
            raise _usage("--workers are processes of this machine, --scheduler has its own: give one of them")
        request = UpscaleRequest(
            scene=_scene_request(
                source,
                bbox,
                aoi,
                when,
                max_cloud,
                api,
                collection,
                bands,
                scale,
                offset,
                picture,
                fill=fill,
                mask_clouds=mask_clouds,
                crs=crs,
                sensor=_sensor(sensor),
            ),
            output=place,
            model=model or defaults.model,
            engine=_one_of("--engine", engine or defaults.engine, get_args(EngineName)),
            device=_one_of("--device", device or defaults.device, get_args(Device)),
            precision=_one_of("--precision", precision or defaults.precision, get_args(Precision)),
            compiled=compiled,
            core_px=core or defaults.core_px,
            workers=workers if workers is not None else 0 if scheduler is not None else defaults.workers,
            scheduler=scheduler or (None if workers else defaults.scheduler),
            compression=_one_of("--compress", compression or defaults.compression, ("zstd", "deflate")),
            uncertainty=uncertainty,
            overwrite=overwrite,
            restart=restart,
            sharpness=sharpness,
        )
        published = super_resolve(request, reporter_for(as_json=as_json, quiet=quiet))
        _print_published(published, as_json=as_json, **{name: str(path) for name, path in published.layers.items()})


@app.command()
def search(
    bbox: opt.Bbox = None,
    aoi: opt.Aoi = None,
    when: opt.When = None,
    max_cloud: opt.MaxCloud = None,
    api: opt.Api = None,
    collection: opt.Collection = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """List the scenes that a STAC API has of an area, clearest first. With --json, a GeoJSON FeatureCollection.

    An area (--bbox or --aoi) and --datetime are needed.
    """
    with _errors(debug):
        import catalog

        request = _scene_request(None, bbox, aoi, when, max_cloud, api, collection)
        assert request.area is not None
        assert request.datetime is not None
        items = catalog.search(
            catalog.Query(request.area, request.datetime, request.api, request.collection, request.max_cloud)
        )
        if as_json:
            features = [item.to_dict(transform_hrefs=False) for item in items]
            _print_json({"type": "FeatureCollection", "features": features})
            return
        table = Table("Item", "time (UTC)", "clouds %", "platform", Column("address", overflow="fold"), box=None)
        for row in catalog.describe(items):
            clouds = "" if row["clouds"] is None else f"{row['clouds']:.0f}"
            cells = (row["id"], row["datetime"], clouds, row["platform"], row["href"])
            table.add_row(*(escape(str(cell)) for cell in cells))
        Console(width=None if sys.stdout.isatty() else 160).print(table)


@app.command()
def worker(
    scheduler: Annotated[str, typer.Argument(metavar="ADDRESS", help="The Dask scheduler, as tcp://host:8786.")],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to work on a chunk.", show_default="all")
    ] = None,
    debug: opt.Debug = False,
) -> None:
    """Compute chunks for `geosr upscale --scheduler`, until the scheduler ends."""
    with _errors(debug):
        from geosr.run.cluster import run_worker

        run_worker(scheduler, threads)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the results.")] = Path("demo"),
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale the bundled Sentinel-2 sample and draw a before/after picture."""
    with _errors(debug):
        from geosr.progress import reporter_for
        from geosr.run.demo import run_demo

        published, picture = run_demo(folder, reporter_for(as_json=as_json, quiet=False))
        _print_published(published, as_json=as_json, picture=str(picture))


@app.command()
def info(
    source: opt.Described = None,
    system: Annotated[bool, typer.Option("--system", help="Show versions and hardware instead.")] = False,
    bands: opt.Bands = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    picture: opt.Picture = False,
    sensor: opt.Sensor = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Show what geosr makes of a source: bands, grid, and how its DN become reflectance, and why."""
    with _errors(debug):
        from geosr.run import describe

        if system and source is not None:
            raise _usage("--system is about this machine: leave the source out, or leave out --system")
        if system:
            _print_pairs(describe.system(), as_json=as_json)
            return
        if source is None:
            raise _usage("name a source, or give --system")
        request = _scene_request(
            source, None, None, None, None, None, None, bands, scale, offset, picture, sensor=_sensor(sensor)
        )
        _print_pairs(describe.source(request), as_json=as_json)


app.command()(train)
app.command()(evaluate)
app.command()(serve)
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")
app.add_typer(pairs, name="pairs")


def main() -> None:
    """Run the command; every way to fail ends in one line and an exit code."""
    share_settings()
    # Libraries log what we say ourselves, and Python prints it when nobody listens.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = app(prog_name="geosr", standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _fail("interrupted", 130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # What the parser of the command line says about its options; nothing, where it has shown the help instead.
        said = error.format_message()
        code = _fail(f"{said} (geosr --help shows how it is used)", 2) if said else 2
    sys.stdout.flush()
    sys.exit(code or 0)


def _scene_request(
    source: str | None,
    bbox: str | None,
    aoi: Path | None,
    when: str | None,
    max_cloud: float | None,
    api: str | None,
    collection: str | None,
    bands: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    picture: bool = False,
    **more: Any,
) -> Any:
    import catalog
    from geosr.settings import settings

    if bbox is not None and aoi is not None:
        raise _usage("give --bbox or --aoi, not both")
    area = catalog.parse_bbox(bbox) if bbox is not None else catalog.read_aoi(aoi) if aoi is not None else None
    if source is None and (area is None or when is None):
        raise _usage(
            "nothing to work on: search with --bbox or --aoi and --datetime" + (", or name a source" if more else "")
        )
    searching = {"--datetime": when, "--max-cloud": max_cloud, "--api": api, "--collection": collection}
    idle = [option for option, value in searching.items() if value is not None]
    if source is not None and idle:
        raise _usage(
            f"{' and '.join(idle)} would search for scenes, and a source is named already: leave one or the other out"
        )
    for option, number in (("--scale", scale), ("--offset", offset)):
        if number is not None and not math.isfinite(number):
            raise _usage(f"{option} is a finite number, not {number}")
    if scale == 0:
        raise _usage("--scale cannot be 0")
    for option, text in (("--bands", bands), ("--api", api), ("--collection", collection)):
        if text is not None and not text.strip(" ,"):
            raise _usage(f"{option} is empty: leave it out, or say what it is to be")
    defaults = settings()
    return catalog.SceneRequest(
        source=source,
        area=area,
        datetime=when,
        max_cloud=100 if max_cloud is None else max_cloud,
        api=api or defaults.api,
        collection=collection or defaults.collection,
        bands=[band.strip() for band in bands.split(",")] if bands else None,
        scale=scale,
        offset=offset,
        picture=picture,
        **more,
    )


def _sensor(name: str | None) -> Any:
    import catalog

    return None if name is None else catalog.read_sensor(name)


def _check_item_path(output: Location, aoi: Path | None, model: str | None) -> None:
    """The STAC Item has the output's name, and must not replace JSON that this command reads."""
    from geosr.run.product import item_path

    item = item_path(output)
    if not isinstance(item, Path) or not item.exists():
        return
    for read in (aoi, Path(model) if model else None):
        if read is not None and read.exists() and read.samefile(item):
            raise _usage(f"the STAC Item of {output} would replace {read}: write to another file")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise _usage(f"{option} is {' or '.join(allowed)}, not {value}")
    return value


def _print_published(published: Any, *, as_json: bool, **more: str) -> None:
    if as_json:
        _print_json(
            {
                "cog": str(published.cog),
                "item": str(published.item),
                "chunks": published.chunks,
                "computed": published.computed,
                "consistency_dn": dict(published.consistency_dn),
                **more,
            }
        )
        return
    *first, last = (published.cog, published.item, *more.values())
    typer.echo(f"wrote {', '.join(map(str, first))} and {last}")
    if published.consistency_dn:
        values = ", ".join(f"{name} {value:.3g}" for name, value in published.consistency_dn.items())
        typer.echo(f"seen through the sensor it differs from the source by (mean, DN): {values}")


def _print_pairs(pairs: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(pairs)
        return
    width = max(len(key) for key in pairs)
    for key, value in pairs.items():
        for i, line in enumerate(value if isinstance(value, list) else [value]):
            typer.echo(f"{key if i == 0 else '':{width}}  {line}")


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))
