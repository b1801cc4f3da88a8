"""The command ``geosr cube``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors
from geosr.cli.output import print_json


def cube(
    products: Annotated[
        list[str],
        typer.Argument(
            metavar="PRODUCTS…",
            help="Products on one grid, folders of them as made by geosr batch, rasters, .SAFE products or STAC Items.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CUBE", help="Cube: .zarr or .nc.")],
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Put products of one grid into a cube along time, in Zarr or NetCDF by the CF conventions.

    The cube is appended to: dates that it has are skipped, later ones are added.
    """
    with errors(debug):
        from geosr.cube.append import CubeRequest, build_cube
        from geosr.progress import reporter_for

        result = build_cube(CubeRequest(tuple(products), output, overwrite), reporter_for(as_json=as_json, quiet=quiet))
        if as_json:
            print_json(asdict(result))
            return
        typer.echo(
            f"{len(result.added)} dates added, {len(result.skipped)} there already: {result.dates} dates in "
            f"{result.cube}"
        )
