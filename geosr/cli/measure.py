"""The command ``geosr measure``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json
from geosr.cli.scene_request import SourceOptions, scene_request


def measure(
    source: Annotated[str, typer.Argument(metavar="SCENE", help="A raster, a .SAFE product or a STAC Item.")],
    bands: opt.Bands = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    sensor: opt.Sensor = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Measure a scene's noise on calm ground, its blur across slanted edges, and the registration of its bands."""
    with errors(debug):
        if find_spec("skimage") is None:
            raise usage("the measures need scikit-image: python -m pip install 'geosr[train]'")
        from geosr.cli.evaluate import table_of
        from geosr.evaluate.scene.measure import measure_scene
        from geosr.evaluate.scene.table import TITLES, rows

        request = scene_request(SourceOptions(source, bands, scale, offset, sensor=sensor))
        quality = measure_scene(request)
        if as_json:
            print_json(quality.as_json())
            return
        Console(width=None if sys.stdout.isatty() else 160).print(
            table_of(f"{quality.source}: noise, blur and registration", list(TITLES), rows(quality))
        )
        for warning in quality.warnings:
            typer.echo(f"warning: {warning}", err=True)
