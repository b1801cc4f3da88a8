"""The commands ``geosr keys …``."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geosr.cli import options as opt
from geosr.cli.errors import errors
from geosr.cli.output import print_json
from geosr.cli.serve import Config, Data, service_settings

keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    config: Config = None,
    data: Data = None,
    debug: opt.Debug = False,
) -> None:
    """Make a key, and show it once."""
    with errors(debug):
        settings = service_settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security.api_keys import create_key

        key_id, key = create_key(Database(settings.data), name)
        typer.echo(f"{key_id} {key}")
        sys.stderr.write("geosr: only its hash is kept: it cannot be shown again\n")


@keys.command("list")
def list_keys(config: Config = None, data: Data = None, as_json: opt.Json = False, debug: opt.Debug = False) -> None:
    """List the keys, without themselves."""
    with errors(debug):
        settings = service_settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security import api_keys as known

        rows = known.list_keys(Database(settings.data))
        if as_json:
            print_json(rows)
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
        settings = service_settings(config, data=data)
        from geosr.service.database import Database
        from geosr.service.security.api_keys import revoke_key

        revoke_key(Database(settings.data), key_id)
        typer.echo(f"revoked {key_id}")


def _time(seconds: object) -> str:
    if not isinstance(seconds, float):
        return ""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")
