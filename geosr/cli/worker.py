"""The command ``geosr worker``."""

from __future__ import annotations

from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors


def worker(
    scheduler: Annotated[str, typer.Argument(metavar="ADDRESS", help="The Dask scheduler, as tcp://host:8786.")],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to work on a chunk.", show_default="all")
    ] = None,
    debug: opt.Debug = False,
) -> None:
    """Compute chunks for `geosr upscale --scheduler`, until the scheduler ends."""
    with errors(debug):
        from geosr.run.cluster import run_worker

        run_worker(scheduler, threads)
