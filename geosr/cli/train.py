"""The command ``geosr train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as those of configs/.")],
    data: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where the configuration's files are.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run.")],
    from_weights: Annotated[
        Path | None, typer.Option("--from-weights", metavar="FILE", help="Begin with these weights of a network.")
    ] = None,
    from_step: Annotated[
        int, typer.Option("--from-step", min=0, help="Steps that those weights were trained.", show_default=False)
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0, help="Save and end after so many minutes; the same command goes on."),
    ] = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Train a generator. Interrupted or killed, the same command goes on where it was, to the same weights."""
    with errors(debug):
        from geosr.training.config import read_config

        if from_step and from_weights is None:
            raise usage("--from-step is about --from-weights: name the weights, or leave it out")
        checked = read_config(config)
        if not data.is_dir():
            raise usage(f"--data {data} is not a folder: name the one that holds the configuration's imagery")
        from geosr.training.loop import Start
        from geosr.training.loop import train as run

        start = Start(from_weights, from_step) if from_weights else None
        step = run(checked, data, output, start, minutes=minutes, quiet=quiet)
        if step < checked.steps:
            typer.echo(f"saved {output} at step {step} of {checked.steps}: the same command goes on from there")
            return
        typer.echo(f"wrote {output}: weights.safetensors, metrics.jsonl, curves.png and samples.png")
