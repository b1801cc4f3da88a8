"""The command ``geosr serve``, and the settings that it shares with ``geosr keys``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
        settings = service_settings(
            config, data=data, host=host, port=port, demo=demo or None, api=api, scheduler=scheduler
        )
        from geosr.service.run import run

        run(settings, as_json=as_json)


def service_settings(config: Path | None, **options: object) -> ServiceSettings:
    """Read the service's settings; options come before the file."""
    missing = [name for name in ("fastapi", "uvicorn", "titiler", "diskcache", "yaml") if find_spec(name) is None]
    if missing:
        raise usage(f"the service needs {', '.join(missing)}: python -m pip install 'geosr[service]'")
    from geosr.service.settings import read_settings

    return read_settings(config, **options)
