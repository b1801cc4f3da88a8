"""The commands ``geosr serve`` and ``geosr keys``."""

from __future__ import annotations

import datetime as dt
import json
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

if TYPE_CHECKING:
    from geosr.service.settings import ServiceSettings

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in YAML, as configs/service.yaml.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FOLDER", help="Where jobs, uploads and keys are kept.", show_default="geosr-service"
    ),
]

keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)


def serve(
    config: Config = None,
    data: Data = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on.", show_default="8000")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Offer the bundled sample as a scene.")] = False,
    api: opt.Api = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers compute the jobs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log in lines of JSON.")] = False,
    debug: opt.Debug = False,
) -> None:
    """Serve live super-resolved tiles, jobs by OGC API – Processes, and a web page."""
    with errors(debug):
        settings = _settings(config, data=data, host=host, port=port, demo=demo or None, api=api, scheduler=scheduler)
        from geosr.service.run import run

        run(settings, as_json=as_json)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    config: Config = None,
    data: Data = None,
    debug: opt.Debug = False,
) -> None:
    """Make a key, and show it once."""
    with errors(debug):
        settings = _settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security.api_keys import create_key

        key_id, key = create_key(Database(settings.data), name)
        typer.echo(f"{key_id} {key}")
        sys.stderr.write("geosr: only its hash is kept: it cannot be shown again\n")


@keys.command("list")
def list_keys(config: Config = None, data: Data = None, as_json: opt.Json = False, debug: opt.Debug = False) -> None:
    """List the keys, without themselves."""
    with errors(debug):
        settings = _settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security import api_keys as known

        rows = known.list_keys(Database(settings.data))
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
            return
        table = Table("id", "name", "created (UTC)", "revoked (UTC)", box=None)
        for row in rows:
            table.add_row(str(row["id"]), escape(str(row["name"])), _time(row["created"]), _time(row["revoked"]))
        Console(width=None if sys.stdout.isatty() else 160).print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")],
    config: Config = None,
    data: Data = None,
    debug: opt.Debug = False,
) -> None:
    """End a key."""
    with errors(debug):
        settings = _settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security.api_keys import revoke_key

        revoke_key(Database(settings.data), key_id)
        typer.echo(f"revoked {key_id}")


def _settings(config: Path | None, **options: object) -> ServiceSettings:
    missing = [name for name in ("fastapi", "uvicorn", "titiler", "diskcache", "yaml") if find_spec(name) is None]
    if missing:
        raise usage(f"the service needs {', '.join(missing)}: python -m pip install 'geosr[service]'")
    from geosr.service.settings import read_settings

    return read_settings(config, **options)


def _time(seconds: object) -> str:
    if not isinstance(seconds, float):
        return ""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")
