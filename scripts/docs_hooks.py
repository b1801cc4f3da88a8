"""Hooks of MkDocs: the command reference, generated from the command itself.

A page that contains ``<!-- commands -->`` gets, in its place, the usage, arguments and options of every subcommand.
"""

from __future__ import annotations

import re
from typing import Any

MARKER = "<!-- commands -->"


def commands() -> str:
    """Describe the command ``geosr`` and its subcommands in Markdown, without the top heading."""
    import typer
    from typer.cli import get_docs_for_click

    from geosr.cli.main import app

    command = typer.main.get_command(app)
    _summarise(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="geosr"), name="geosr")
    _, _, body = text.partition("\n")
    return _escaped(body)


def _summarise(command: Any) -> None:
    """Give each subcommand its whole first sentence as summary, which is cut short otherwise."""
    for sub in getattr(command, "commands", {}).values():
        sub.short_help = (sub.help or "").strip().split("\n\n")[0].replace("\n", " ")
        _summarise(sub)


def _escaped(text: str) -> str:
    """Escape what Markdown would take for HTML or emphasis outside of code."""
    parts = re.split(r"(```.*?```|`[^`]*`)", text, flags=re.DOTALL)
    return "".join(part if i % 2 else part.replace("<", "&lt;").replace("*.", "\\*.") for i, part in enumerate(parts))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marker of a page."""
    return markdown.replace(MARKER, commands()) if MARKER in markdown else markdown
