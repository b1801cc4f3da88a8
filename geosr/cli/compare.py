"""The command ``geosr compare``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Raster, by path or URL.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Raster of the same place, of any grid.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT.html", help="Page to write, which needs no network.")
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            "--line",
            metavar="X1,Y1,X2,Y2",
            help="Line of the profile in A's CRS.",
            show_default="across the middle, west to east",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Compare two rasters of one place: difference, profile, histogram, and a swipe, as one page.

    Bands are matched by name. B is laid on A's CRS, at the finer of both resolutions and at the coarser one.
    """
    with errors(debug):
        from dataclasses import asdict

        import tiling
        from geosr.errors import ExistsError
        from geosr.maps.compare import compare as compare_rasters
        from geosr.maps.compare_page import page_of

        ends = None if line is None else _line(line)
        place = None if output is None else tiling.locate(output)
        if place is not None and place.suffix.lower() not in (".html", ".htm"):
            raise usage(f"the output {output} has to be a page: name it .html")
        if place is not None and place.exists() and not overwrite:
            raise ExistsError(f"{output} exists: --overwrite replaces it")
        comparison = compare_rasters(first, second)
        if place is not None:
            tiling.write(place, [page_of(comparison, ends).encode()])
        if as_json:
            print_json([asdict(one) for one in comparison.differences])
            return
        for one in comparison.differences:
            typer.echo(
                f"{one.band} at {one.pixel:g}: B - A is {one.mean:.4g} in the mean, RMSE {one.rmse:.4g}, correlation "
                f"{one.correlation:.4g}, {one.count} pixels"
            )
        if output is not None:
            typer.echo(f"wrote {output}")


def _line(text: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise usage(f"{text!r} is no line: give X1,Y1,X2,Y2 in A's CRS") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise usage(f"the line {text} does not lie on any map: give finite numbers")
    if (x1, y1) == (x2, y2):
        raise usage(f"the line {text} has no length: give two places")
    return x1, y1, x2, y2
