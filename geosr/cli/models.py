"""The command ``geosr models``: what there is, a model's card, and models made of published networks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json

if TYPE_CHECKING:
    from geosr.model.card import ModelCard

#: What a bare name is given to.
_SHOW = "show"

#: The set whose figures are told first: its pixels are nearest in size to those of the products.
_MAIN_SET = "claremont 2.4 m"


class _NamesAreShown(TyperGroup):
    """``geosr models NAME`` is ``geosr models show NAME`` wherever NAME is no command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = not args or args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else [_SHOW, *args])


models = typer.Typer(
    cls=_NamesAreShown,
    help="List the models, show a model's card (geosr models NAME), or make a model of a published network or a run.",
    invoke_without_command=True,
    subcommand_metavar="[NAME|COMMAND] [ARGS]...",
)

_Card = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FOLDER/NAME.json", help="Card to write; the weights go beside it."),
]
_Name = Annotated[str | None, typer.Option("--name", help="Name of the model.", show_default="the card's file name")]
_Sensor = Annotated[str, typer.Option("--sensor", metavar="NAME|FILE.yaml", help="Whose bands they are.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing card and its weights.")]


@models.callback()
def list_models(ctx: typer.Context, as_json: opt.Json = False, debug: opt.Debug = False) -> None:
    """List the models, show a model's card (geosr models NAME), or make a model of a published network or a run."""
    if ctx.invoked_subcommand is not None:
        return
    with errors(debug):
        from geosr.model import zoo

        cards = zoo.shipped_cards()
        if as_json:
            content = [{**card.model_dump(mode="json"), "main_figures": main_figures(card, cards[0])} for card in cards]
            print_json(content)
            return
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(_table(cards, zoo.DEFAULT_MODEL))
        console.print(
            f"dB: PSNR over bicubic interpolation on {_MAIN_SET}, which none was trained on (%: root mean square error "
            "of the 20 m bands against bicubic's, from 40 m to 20 m, on scenes that were left out); "
            "resolution: finest detail that is right there; cost: multiply-adds for each source pixel. "
            "All figures: geosr models NAME",
            style="dim",
        )


@models.command(_SHOW, hidden=True)
def show(
    name: Annotated[str, typer.Argument(help="A model, or the path of its card.")],
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Show a model's card in full."""
    with errors(debug):
        from geosr.model import zoo

        print_json(zoo.read_card(name).model_dump(mode="json"))


@models.command()
def adapt(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A ×4 RGB network of ESRGAN's form (.safetensors, .pth).")
    ],
    bands: Annotated[str, typer.Option("--bands", metavar="NAMES", help="Bands in order, as B02,B03,B04,B08.")],
    output: _Card,
    name: _Name = None,
    sensor: _Sensor = "sentinel-2",
    back_projection: Annotated[
        int | None,
        typer.Option(
            "--back-projection",
            min=0,
            metavar="STEPS",
            help="Steps through the sensor's blur that end the model; 0 for what the network gives.",
            show_default="16",
        ),
    ] = None,
    white: Annotated[
        float,
        typer.Option(
            "--white",
            min=0.01,
            max=10,
            metavar="VALUE",
            help="Reflectance that is 1 at the network's input; 1 for photographs.",
        ),
    ] = 0.3,
    overwrite: _Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Make a model for other bands of a published RGB network, whose colours are kept."""
    with errors(debug):
        import catalog

        profile = catalog.read_sensor(sensor)
        chosen = tuple(band.strip() for band in bands.split(",") if band.strip())
        if not chosen:
            raise usage("--bands is empty: name the model's bands, as B02,B03,B04,B08")
        from geosr.release.adapt import STEPS, Adaptation
        from geosr.release.adapt import adapt as run

        steps = STEPS if back_projection is None else back_projection
        request = Adaptation(checkpoint, chosen, profile, output, name, steps, overwrite, white)
        _print_written(run(request), output, as_json)


@models.command()
def tuned(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="Card of an adapted model.")],
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="What `geosr train` made of it.")],
    output: _Card,
    name: _Name = None,
    overwrite: _Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Make a model of an adapted one and the weights that it was trained to."""
    with errors(debug):
        from geosr.release.adapt import with_weights

        _print_written(with_weights(card, weights, output, name=name, overwrite=overwrite), output, as_json)


@models.command()
def trained(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's configuration.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Its folder, as `geosr train` left it.")],
    output: _Card,
    name: _Name = None,
    sensor: _Sensor = "sentinel-2",
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Imagery to calibrate half-widths on; only a run of those."),
    ] = None,
    overwrite: _Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Make a model of a run of `geosr train`, for `geosr upscale --model`; its margin is measured."""
    with errors(debug):
        import catalog

        profile = catalog.read_sensor(sensor)
        if data is not None and not data.is_dir():
            raise usage(f"--data {data} is not a folder: name the one that holds the configuration's imagery")
        from geosr.release.user_model import Publication, publish

        _print_written(publish(Publication(config, run, profile, output, data, name, overwrite)), output, as_json)


def main_figures(card: ModelCard, default: ModelCard) -> dict[str, Any]:
    """A model's first figures: from its card, or from the default's where that was compared with it."""
    measured: dict[str, Any] = {}
    for held_out in (one.figures.get("held_out", {}) for one in (card, default)):
        measured = measured or held_out.get(_MAIN_SET, {}).get(card.name, {})
    return {
        "set": _MAIN_SET if measured else None,
        "over_bicubic_db": measured.get("over_bicubic_db"),
        "coarse_rmse_over_bicubic": _coarse_bands(card),
        "effective_resolution_lr_px": card.effective_resolution_lr_px or measured.get("effective_resolution_lr_px"),
        "multiply_adds_per_lr_px": card.multiply_adds_per_lr_px,
    }


def _coarse_bands(card: ModelCard) -> dict[str, float] | None:
    """Error of a stack's coarse bands to that of bicubic interpolation, on each scene that was left out."""
    if card.stack is None:
        return None
    sums = {
        scene: {name: sum(one["rmse"]) for name, one in steps["coarse"].items()}
        for scene, steps in card.figures.get("left_out", {}).items()
    }
    return {scene: one["fusion"] / one["bicubic"] for scene, one in sums.items()} or None


def _gain(figures: dict[str, Any]) -> str:
    if figures["over_bicubic_db"] is not None:
        return f"{figures['over_bicubic_db']:+.2f}"
    ratios = figures["coarse_rmse_over_bicubic"]
    return "–" if ratios is None else " ".join(f"{100 * (ratio - 1):+.0f} %" for ratio in ratios.values())


def _table(cards: list[ModelCard], default: str) -> Table:
    table = Table("model", "made for", "bands", "dB", "resolution", "cost", "what it is", box=None)
    for card in cards:
        figures = main_figures(card, cards[0])
        resolution = figures["effective_resolution_lr_px"]
        table.add_row(
            card.name + (" (default)" if card.name == default else ""),
            ", ".join(filter(None, (card.sensor, f"{card.gsd_m:g} m" if card.gsd_m else None))) or "any",
            ",".join(card.bands) if card.bands else "any",
            _gain(figures),
            "–" if resolution is None else f"{resolution:.2f} px",
            f"{card.multiply_adds_per_lr_px / 1e6:.1f} M" if card.multiply_adds_per_lr_px else "–",
            card.description,
        )
    return table


def _print_written(card: ModelCard, output: Path, as_json: bool) -> None:
    from geosr.model.purpose import notes_for

    notes = notes_for(card, None, None)
    if as_json:
        written = {"card": str(output), "weights": str(card.weights_path), "halo_px": card.halo_px, "notes": notes}
        print_json(written)
        return
    typer.echo(f"wrote {output} and {card.weights_path}: {card.description}")
    for note in notes:
        typer.echo(f"note: {note}")
