"""The command ``geosr info``."""

from __future__ import annotations

from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_pairs
from geosr.cli.scene_request import SourceOptions, scene_request


def info(
    source: opt.Described = None,
    system: Annotated[bool, typer.Option("--system", help="Show versions and hardware instead.")] = False,
    bands: opt.Bands = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    plain_image: opt.PlainImage = False,
    sensor: opt.Sensor = None,
    acquired: opt.Acquired = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Show what geosr makes of a source: bands, grid, and how its DN become reflectance, and why."""
    with errors(debug):
        from geosr.run import describe

        if system and source is not None:
            raise usage("--system is about this machine: leave the source out, or leave out --system")
        if system:
            print_pairs(describe.system(), as_json=as_json)
            return
        if source is None:
            raise usage("name a source, or give --system")
        options = SourceOptions(source, bands, scale, offset, nodata, plain_image, sensor, acquired)
        print_pairs(describe.source(scene_request(options)), as_json=as_json)
