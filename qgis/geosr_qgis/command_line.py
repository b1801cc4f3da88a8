"""Command lines of ``geosr``, built from values of a dialog."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Union

Value = Union[str, int, float, bool, Sequence[str], None]

#: Environment of QGIS that leads another Python, or another GDAL, to the wrong libraries.
_OF_QGIS = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_DATA",
    "PROJ_LIB",
    "QT_PLUGIN_PATH",
)


def command_line(
    program: str, subcommand: str, sources: Sequence[str] = (), options: Mapping[str, Value] | None = None
) -> list[str]:
    """Build the arguments of a command that reports its progress as JSON.

    Options that are None, False or an empty text are left out, those that are True have no value, and those of
    several texts are joined by commas. Sources come last, after ``--``: their names may begin with a dash.
    """
    arguments = [program, subcommand, "--json"]
    for name, value in (options or {}).items():
        if value is None or value is False or value == "" or value == []:
            continue
        # One word for name and value: a value may begin with a dash, as a box west of Greenwich does.
        arguments.append(name if value is True else f"{name}={_text(value)}")
    return [*arguments, *(["--", *sources] if sources else [])]


def bounding_box(west: float, south: float, east: float, north: float) -> str:
    """A box in degrees as the command reads it."""
    return ",".join(f"{side:.7f}".rstrip("0").rstrip(".") for side in (west, south, east, north))


def period(first: str | None, last: str | None) -> str | None:
    """Two days, each ``2024-06-01`` or nothing, as the command reads them; None for any time."""
    if not first and not last:
        return None
    if first == last:
        return first
    return f"{first or '..'}/{last or '..'}"


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to QGIS, and with unbuffered output."""
    kept = {key: value for key, value in environment.items() if key not in _OF_QGIS}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def shown(arguments: Sequence[str]) -> str:
    """The command as a user may type it."""
    return " ".join(_quoted(argument) for argument in arguments)


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (str, int)):
        return str(value)
    return ",".join(value or ())


def _quoted(argument: str) -> str:
    if os.name == "nt":
        return f'"{argument}"' if " " in argument else argument
    import shlex

    return shlex.quote(argument)
