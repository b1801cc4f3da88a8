"""The command ``geosr evaluate``."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json

if TYPE_CHECKING:
    from geosr.evaluate.evaluation import Evaluation
    from geosr.evaluate.held_out import ImageSet

_OWN = "Rasters of your own"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model of `geosr models`, a card (.json), or a checkpoint of ESRGAN's form (.safetensors, .pth).",
        ),
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder of the standard held-out sets, or of rasters of your own.")
    ],
    against: Annotated[
        list[str] | None, typer.Option("--against", metavar="MODEL", help="A further model; may be repeated.")
    ] = None,
    real: Annotated[
        bool,
        typer.Option(
            "--real", help="Judge on real images without a truth: noise, other dates, agreement of bands, range, edges."
        ),
    ] = False,
    full_scale: Annotated[
        float | None, typer.Option("--full-scale", help="DN of reflectance 1.", rich_help_panel=_OWN)
    ] = None,
    glob: Annotated[
        str | None, typer.Option("--glob", metavar="PATTERN", help="Files.", show_default="*.tif", rich_help_panel=_OWN)
    ] = None,
    reduce: Annotated[
        int | None,
        typer.Option(
            "--reduce", min=1, help="Average blocks of this side first.", show_default="1", rich_help_panel=_OWN
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the set.", show_default="the folder's", rich_help_panel=_OWN)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write evaluation.json and report.html there."),
    ] = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Measure a model against interpolations and other models, on imagery seen through Sentinel-2's blur."""
    with errors(debug):
        if find_spec("skimage") is None:
            raise usage("the measures need scikit-image: python -m pip install 'geosr[train]'")
        from geosr.evaluate.evaluation import EvaluationRequest
        from geosr.evaluate.evaluation import evaluate as run
        from geosr.evaluate.publish import prepare, write
        from geosr.evaluate.result import as_json as content_of
        from geosr.progress import reporter_for

        images = _own_images(data, full_scale, glob, reduce, name)
        if real:
            if images is not None:
                raise usage("--real judges on the real images of DATA: leave --full-scale out")
            _evaluate_real(model, data, tuple(against or ()), output, overwrite=overwrite, quiet=quiet, as_json=as_json)
            return
        if output is not None:
            prepare(output, overwrite=overwrite)
        request = EvaluationRequest(model, data, tuple(against or ()), images)
        evaluation = run(request, reporter_for(as_json=as_json, quiet=quiet))
        written = [] if output is None else write(evaluation, output)
        if as_json:
            print_json(content_of(evaluation))
            return
        _print_tables(evaluation)
        if written:
            typer.echo(f"wrote {' and '.join(map(str, written))}")


def _evaluate_real(
    model: str,
    data: Path,
    against: tuple[str, ...],
    output: Path | None,
    *,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from geosr.evaluate.publish import prepare, write_real
    from geosr.evaluate.real.evaluation import RealRequest, evaluate_real
    from geosr.evaluate.real.table import as_json as content_of
    from geosr.evaluate.real.table import rows, titles
    from geosr.progress import reporter_for

    if output is not None:
        prepare(output, overwrite=overwrite)
    evaluation = evaluate_real(RealRequest(model, data, against), reporter_for(as_json=as_json, quiet=quiet))
    written = [] if output is None else write_real(evaluation, output)
    if as_json:
        print_json(content_of(evaluation))
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table_of("On real images", titles(evaluation), rows(evaluation)))
    if written:
        typer.echo(f"wrote {' and '.join(map(str, written))}")


def _own_images(
    data: Path, full_scale: float | None, glob: str | None, reduce: int | None, name: str | None
) -> ImageSet | None:
    """None for the standard sets."""
    from geosr.evaluate.held_out import ImageSet

    if full_scale is None:
        given = {"--glob": glob, "--reduce": reduce, "--name": name}
        idle = [option for option, value in given.items() if value is not None]
        if idle:
            raise usage(
                f"{' and '.join(idle)} is about rasters of your own: say with --full-scale which DN is reflectance 1"
            )
        return None
    if not (math.isfinite(full_scale) and full_scale > 0):
        raise usage(f"--full-scale is a DN above 0, not {full_scale:g}")
    pattern = "*.tif" if glob is None else glob
    if not pattern or Path(pattern).is_absolute():
        raise usage(f"--glob is a pattern inside DATA, not {pattern!r}")
    return ImageSet(name or data.resolve().name, pattern, full_scale, reduce or 1)


def _print_tables(evaluation: Evaluation) -> None:
    from geosr.evaluate.table import COVERAGE_TITLES, GROUPS, cells, coverage_cells

    console = Console(width=None if sys.stdout.isatty() else 160)
    for one in evaluation.sets:
        console.print(f"\n[bold]{escape(one.which.name)}[/bold], images: {len(one.images)}", highlight=False)
        for title, columns in GROUPS.items():
            console.print(table_of(title, ["model", *(column.title for column in columns)], cells(one, columns)))
        half_widths = list(coverage_cells(one))
        if half_widths:
            console.print(table_of("Half-widths", list(COVERAGE_TITLES), half_widths))


def table_of(title: str, titles: list[str], rows: list[list[str]]) -> Table:
    """A table without a frame, the first column to the left and the others to the right."""
    table = Table(title=title, title_justify="left", box=None)
    for i, one in enumerate(titles):
        table.add_column(one, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
