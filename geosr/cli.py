"""The command ``geosr``. Each subcommand turns its options into one call, and its result into text or JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="geosr",
    help="Super-resolution of satellite imagery: four times finer, lined up to the pixel, reflectance kept.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_AREA = "Area of interest"
_HOW = "How to upscale"
_SOURCE = "What the source is"
_OUT = "Output"

Bbox = Annotated[
    str | None,
    typer.Option("--bbox", metavar="W,S,E,N", help="Box in degrees: west,south,east,north.", rich_help_panel=_AREA),
]
Aoi = Annotated[
    Path | None,
    typer.Option("--aoi", metavar="FILE", help="GeoJSON polygon; its bounding box is used.", rich_help_panel=_AREA),
]
When = Annotated[
    str | None,
    typer.Option(
        "--datetime",
        metavar="DATES",
        help="When to search: 2024-06-01, 2024-06, or 2024-06-01/2024-08-31.",
        rich_help_panel=_AREA,
    ),
]
MaxCloud = Annotated[
    float,
    typer.Option("--max-cloud", metavar="PERCENT", min=0, max=100, help="Highest cloud cover.", rich_help_panel=_AREA),
]
Api = Annotated[
    str | None,
    typer.Option("--api", metavar="URL", help="STAC API to search. [default: Earth Search]", rich_help_panel=_AREA),
]
Collection = Annotated[
    str | None,
    typer.Option("--collection", help="Collection to search. [default: sentinel-2-l2a]", rich_help_panel=_AREA),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and progress as JSON lines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with errors.")]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands",
        metavar="NAMES",
        help="Bands to use, as B02,B03,B04,B08; for a raster with unnamed bands, their names in order (- skips one).",
        rich_help_panel=_SOURCE,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option("--scale", help="Reflectance per DN, instead of what the source says.", rich_help_panel=_SOURCE),
]
Offset = Annotated[
    float | None,
    typer.Option("--offset", help="Reflectance at DN 0, instead of what the source says.", rich_help_panel=_SOURCE),
]
Picture = Annotated[
    bool,
    typer.Option(
        "--picture", help="Take a raster as a picture: no CRS or reflectance needed.", rich_help_panel=_SOURCE
    ),
]


@app.command()
def upscale(
    source: Annotated[
        str | None,
        typer.Argument(help="Raster, .SAFE folder or zip, or STAC Item, by path or URL; leave out to search."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.tif", help="COG to write; its STAC Item goes to OUT.json.")
    ] = Path(),
    bbox: Bbox = None,
    aoi: Aoi = None,
    when: When = None,
    max_cloud: MaxCloud = 100,
    api: Api = None,
    collection: Collection = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Fill gaps from other overpasses, clearest first.", rich_help_panel=_AREA)
    ] = False,
    mask_clouds: Annotated[
        bool,
        typer.Option("--mask-clouds", help="Make clouds, shadows and saturated pixels nodata.", rich_help_panel=_AREA),
    ] = False,
    crs: Annotated[
        str | None,
        typer.Option(
            "--crs", metavar="EPSG:…", help="Put STAC Items on a grid of this CRS (resamples).", rich_help_panel=_AREA
        ),
    ] = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    picture: Picture = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A model of `geosr models`, or a card file. [default: rgbn-x4]", rich_help_panel=_HOW
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="auto|cpu|cuda", help="Where the network runs.", rich_help_panel=_HOW),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", metavar="float32|bfloat16", help="Type of the network's numbers.", rich_help_panel=_HOW
        ),
    ] = None,
    core: Annotated[
        int | None,
        typer.Option(
            "--core", min=1, max=4096, help="Side of a chunk, source pixels. [default: 256]", rich_help_panel=_HOW
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Processes of a local Dask cluster. [default: 0, threads of this process]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option("--compress", metavar="zstd|deflate", help="Compression of the COG.", rich_help_panel=_OUT),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=_OUT)
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget an unfinished run with other settings.", rich_help_panel=_OUT)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Upscale a scene four times: a Cloud-Optimized GeoTIFF with a STAC Item beside it.

    Interrupted, the same command goes on where it was.
    """
    with _errors(debug):
        from geosr.pipeline import UpscaleRequest, super_resolve
        from geosr.progress import reporter_for
        from geosr.settings import settings

        if output == Path():
            raise _usage("name the output: -o OUT.tif")
        defaults = settings()
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
            ),
            output=output,
            model=model or defaults.model,
            device=_one_of("--device", device or defaults.device, ("auto", "cpu", "cuda")),
            precision=_one_of("--precision", precision or defaults.precision, ("float32", "bfloat16")),
            core_px=core or defaults.core_px,
            workers=workers if workers is not None else defaults.workers,
            compression=_one_of("--compress", compression or defaults.compression, ("zstd", "deflate")),
            overwrite=overwrite,
            restart=restart,
        )
        published = super_resolve(request, reporter_for(as_json=as_json, quiet=quiet))
        _print_published(published, as_json=as_json)


@app.command()
def search(
    bbox: Bbox = None,
    aoi: Aoi = None,
    when: When = None,
    max_cloud: MaxCloud = 100,
    api: Api = None,
    collection: Collection = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the scenes that a STAC API has of an area, clearest first. With --json, a GeoJSON FeatureCollection."""
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
        table = Table("Item", "time (UTC)", "clouds %", "platform", box=None)
        for row in catalog.describe(items):
            clouds = "" if row["clouds"] is None else f"{row['clouds']:.0f}"
            table.add_row(str(row["id"]), str(row["datetime"]), clouds, str(row["platform"]))
        Console(width=None if sys.stdout.isatty() else 160).print(table)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the results.")] = Path("demo"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Upscale the bundled Sentinel-2 sample and draw a before/after picture."""
    with _errors(debug):
        from geosr.demo import run_demo
        from geosr.progress import reporter_for

        published, picture = run_demo(folder, reporter_for(as_json=as_json, quiet=False))
        _print_published(published, as_json=as_json, picture=str(picture))


@app.command()
def info(
    source: Annotated[str | None, typer.Argument(help="A source as for `upscale`.")] = None,
    system: Annotated[bool, typer.Option("--system", help="Show versions and hardware instead.")] = False,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    picture: Picture = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what geosr makes of a source: bands, grid, and how its DN become reflectance, and why."""
    with _errors(debug):
        from geosr import describe

        if system:
            _print_pairs(describe.system(), as_json=as_json)
            return
        if source is None:
            raise _usage("name a source, or give --system")
        request = _scene_request(source, None, None, None, 100, None, None, bands, scale, offset, picture)
        _print_pairs(describe.source(request), as_json=as_json)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show one model's card in full.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the models, or show a model's card."""
    with _errors(debug):
        from geosr.model import zoo

        if name is not None:
            _print_json(zoo.read_card(name).model_dump(mode="json"))
            return
        cards = [zoo.read_card(one) for one in zoo.names()]
        if as_json:
            _print_json([card.model_dump(mode="json") for card in cards])
            return
        table = Table("model", "bands", "scale", "what it is", box=None)
        for card in cards:
            label = card.name + (" (default)" if card.name == zoo.DEFAULT_MODEL else "")
            table.add_row(label, ",".join(card.bands) if card.bands else "any", f"×{card.scale}", card.description)
        Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> None:
    """Run the command; every way to fail ends in one line and an exit code."""
    # Libraries log what we say ourselves, and Python prints it when nobody listens.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = app(standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _fail("interrupted", 130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # What the parser of the command line says about its options.
        code = _fail(f"{error.format_message()} (geosr --help shows how it is used)", 2)
    sys.stdout.flush()
    sys.exit(code or 0)


@contextmanager
def _errors(debug: bool) -> Iterator[None]:
    """Turn what is raised on purpose into one line on standard error and an exit code."""
    from catalog import CatalogError
    from geosr.errors import GeosrError
    from tiling import TilingError

    try:
        yield
    except KeyboardInterrupt:
        if debug:
            raise
        raise typer.Exit(_fail("interrupted; the same command goes on where it was", 130)) from None
    except (GeosrError, CatalogError, TilingError) as error:
        if debug:
            raise
        raise typer.Exit(_fail(str(error), getattr(error, "exit_code", 1))) from None
    except MemoryError as error:
        if debug:
            raise
        raise typer.Exit(_fail(f"not enough memory: {error}; try a smaller --core", 1)) from None
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"geosr: {line}\n")
    return code


def _usage(message: str) -> Exception:
    from geosr.errors import UsageError

    return UsageError(message)


def _scene_request(
    source: str | None,
    bbox: str | None,
    aoi: Path | None,
    when: str | None,
    max_cloud: float,
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
        raise _usage("nothing to work on: name a source, or search with --bbox or --aoi and --datetime")
    if source is not None and when is not None:
        raise _usage("--datetime searches for scenes, and a source is named already: give one of them")
    if scale == 0:
        raise _usage("--scale cannot be 0")
    defaults = settings()
    return catalog.SceneRequest(
        source=source,
        area=area,
        datetime=when,
        max_cloud=max_cloud,
        api=api or defaults.api,
        collection=collection or defaults.collection,
        bands=[band.strip() for band in bands.split(",")] if bands else None,
        scale=scale,
        offset=offset,
        picture=picture,
        **more,
    )


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
    typer.echo(f"wrote {published.cog} and {published.item}" + "".join(f" and {path}" for path in more.values()))
    if published.consistency_dn:
        values = ", ".join(f"{name} {value:.1f}" for name, value in published.consistency_dn.items())
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
