"""The command ``geosr fields``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json


def fields(
    products: Annotated[
        list[str],
        typer.Argument(
            metavar="PRODUCTS…",
            help="Products, folders of them as made by geosr batch, rasters, .SAFE products or STAC Items, or a .txt "
            "of these.",
        ),
    ],
    polygons: Annotated[
        Path,
        typer.Option("--fields", metavar="FILE", help="Polygons: GeoPackage, Shapefile, GeoJSON, … in any CRS."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="TABLE", help="Table: .parquet, .geoparquet, .csv or .gpkg."),
    ],
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar="NAMES|NAME=EXPRESSION",
            help="ndvi, ndre, ndwi, nbr, or an expression of bands in reflectance, as ratio=B08/B04; several with "
            "commas or again.",
            show_default="ndvi",
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Column that names the fields.", show_default="their numbers"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Layer of the fields' file.", show_default="its only one"),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Fields to take, as \"crop = 'wheat'\".", show_default="all"),
    ] = None,
    percentiles: Annotated[
        str, typer.Option("--percentiles", metavar="P,P,…", help="Percentiles, 0 to 100; empty for none.")
    ] = "10,90",
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Also draw each field over time, with half-widths, as PNG."),
    ] = None,
    remote_sources: Annotated[
        bool,
        typer.Option(
            "--remote-sources", help="Also read products' sources from servers, for the figures at their pixels."
        ),
    ] = False,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Statistics of indices by field and date, with a half-width for each mean.

    The table is appended to: images whose rows are there are not computed again, new ones are added.
    """
    with errors(debug):
        from geosr.fields.collect import FieldsRequest, collect_fields
        from geosr.progress import reporter_for

        request = FieldsRequest(
            sources=tuple(products),
            fields=polygons,
            output=output,
            measures=tuple(one for text in index or ["ndvi"] for one in _split(text)),
            id_column=id_column,
            layer=layer,
            where=where,
            percentiles=_numbers(percentiles),
            remote_sources=remote_sources,
            plots=plots,
            overwrite=overwrite,
        )
        result = collect_fields(request, reporter_for(as_json=as_json, quiet=quiet))
        if as_json:
            print_json(asdict(result))
            return
        for note in result.notes:
            typer.echo(f"note: {note}")
        typer.echo(
            f"{len(result.computed)} images computed, {len(result.skipped)} there already: {result.rows} rows in "
            f"{result.table}" + (f", {result.plots} plots in {plots}" if plots else "")
        )


def _split(text: str) -> list[str]:
    """Split at the commas that are not inside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if not all(part.strip() for part in parts):
        raise usage(f"--index {text!r} has an empty name between its commas")
    return [part.strip() for part in parts]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(one) for one in text.split(",") if one.strip())
    except ValueError:
        raise usage(f"--percentiles takes numbers with commas between them, not {text!r}") from None
    if len(set(found)) < len(found):
        raise usage(f"--percentiles {text!r} has one of them twice")
    return found
