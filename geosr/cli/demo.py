"""The command ``geosr demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors
from geosr.cli.output import print_published


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the results.")] = Path("demo"),
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale the bundled Sentinel-2 sample and draw a before/after picture."""
    with errors(debug):
        from geosr.progress import reporter_for
        from geosr.run.demo import run_demo

        published, picture = run_demo(folder, reporter_for(as_json=as_json, quiet=False))
        print_published(published, as_json=as_json, picture=str(picture))
