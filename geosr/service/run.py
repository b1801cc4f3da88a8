"""Run the service in this process, and log what it does."""

from __future__ import annotations

import datetime as dt
import json
import logging
import socket
import sys
from contextlib import suppress
from typing import Any

import uvicorn

from geosr.errors import UsageError
from geosr.service.app import create_app
from geosr.service.security.connections import ConnectionLimits
from geosr.service.settings import ServiceSettings

#: Fields of our own that records may have.
_FIELDS = ("status", "ms", "job")


def run(settings: ServiceSettings, *, as_json: bool) -> None:
    """Serve until the process is told to end. Raises :class:`UsageError` when the address cannot be had."""
    _log_to_stderr(as_json=as_json)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
    # Port 0 is any that is free.
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    app = create_app(settings)
    keys = "" if settings.with_keys else ", without keys"
    logging.getLogger("geosr.service").info("serves at %s%s", app.state.context.url("/"), keys)
    limits = ConnectionLimits(settings.head_s, settings.body_bytes_per_s, settings.connections_per_address)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=limits.protocol(),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
            limit_concurrency=settings.max_connections,
        )
    )
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content.update({name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) is not None]
        time = dt.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        # What clients send stands in messages: a line of theirs must not look like one of the log's own.
        message = "".join(one if one.isprintable() else "?" for one in record.getMessage())
        line = " ".join([time, record.levelname.lower(), message, *fields])
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def _log_to_stderr(*, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    for name in ("geosr.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if name.startswith("geosr") else logging.WARNING)
        logger.handlers = [handler]
        logger.propagate = False
