"""The command ``geosr``. Each subcommand turns its options into one call, and its result into text or JSON."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from geosr.cli.batch import batch
from geosr.cli.change import change
from geosr.cli.compare import compare
from geosr.cli.cube import cube
from geosr.cli.demo import demo
from geosr.cli.errors import fail
from geosr.cli.evaluate import evaluate
from geosr.cli.fields import fields
from geosr.cli.image import image, video
from geosr.cli.info import info
from geosr.cli.keys import keys
from geosr.cli.measure import measure
from geosr.cli.models import models
from geosr.cli.pairs import pairs
from geosr.cli.preview import preview, style
from geosr.cli.search import search
from geosr.cli.serve import serve
from geosr.cli.train import train
from geosr.cli.upscale import upscale
from geosr.cli.verify import verify
from geosr.cli.worker import worker
from geosr.run.storage_options import share_settings

app = typer.Typer(
    name="geosr",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        from geosr.version import VERSION

        typer.echo(f"geosr {VERSION}")
        raise typer.Exit


@app.callback()
def _geosr(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Super-resolution of satellite imagery: four times finer, lined up to the pixel, reflectance kept."""


for _command in (
    upscale,
    batch,
    preview,
    style,
    compare,
    image,
    video,
    change,
    fields,
    cube,
    search,
    verify,
    worker,
    demo,
    info,
    measure,
    train,
    evaluate,
    serve,
):
    app.command()(_command)
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")
app.add_typer(pairs, name="pairs")


def main() -> None:
    """Run the command; every way to fail ends in one line and an exit code."""
    share_settings()
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be characters of the terminal's encoding, nor ours.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Libraries log what we say ourselves, and Python prints it when nobody listens.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = app(prog_name="geosr", standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = fail("interrupted", 130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # What the parser of the command line says about its options; nothing, where it has shown the help instead.
        said = error.format_message()
        code = fail(f"{said} (geosr --help shows how it is used)", 2) if said else 2
    sys.stdout.flush()
    sys.exit(code or 0)
