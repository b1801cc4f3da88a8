"""The commands ``geosr pairs …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json

pairs = typer.Typer(help="Training pairs from co-registered sensors.", no_args_is_help=True)


@pairs.callback()
def _group() -> None:
    """Training pairs from co-registered sensors."""


@pairs.command()
def build(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/pairs_*.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the set.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Where the configuration's files are.", show_default="beside it"),
    ] = None,
    workers: opt.Workers = None,
    scheduler: opt.Scheduler = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another set.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an unfinished build of other settings.")] = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Build a pair set: matched, aligned, harmonised, screened. Killed, the same command goes on where it was."""
    with errors(debug):
        from geosr.pairs.config import read_config
        from geosr.settings import settings

        checked = read_config(config)
        folder = config.parent if data is None else data
        if not folder.is_dir():
            raise usage(f"--data {folder} is not a folder: name the one that holds the configuration's imagery")
        if workers and scheduler:
            raise usage("--workers starts processes here and --scheduler uses others: give one of them")
        from geosr.pairs.build import BuildRequest
        from geosr.pairs.build import build as run
        from geosr.progress import reporter_for

        defaults = settings()
        request = BuildRequest(
            config=checked,
            data=folder,
            output=output,
            workers=defaults.workers if workers is None else workers,
            scheduler=scheduler or (None if workers else defaults.scheduler),
            overwrite=overwrite,
            restart=restart,
        )
        built = run(request, reporter_for(as_json=as_json, quiet=quiet))
        if as_json:
            print_json({"output": str(built.output), "kept": built.kept, "rejected": built.rejected})
            return
        left_out = ", ".join(f"{count} {reason}" for reason, count in built.rejected.items()) or "none"
        typer.echo(f"wrote {built.output}: {built.kept} patches; left out: {left_out}")
