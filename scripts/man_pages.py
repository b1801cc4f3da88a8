"""Write the manual pages of ``geosr`` and its subcommands, from the command itself.

python scripts/man_pages.py [FOLDER]    # writes geosr.1, geosr-upscale.1, … there, by default to man/
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

#: Exit codes of every command.
_EXIT = (("0", "done"), ("1", "failed"), ("2", "wrong use"), ("130", "interrupted"))


def pages() -> dict[str, str]:
    """Text of each page by its name, as ``geosr-upscale``."""
    import typer

    from geosr.cli.main import app
    from geosr.version import VERSION

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="geosr")
    return {name: _page(name, one, under, VERSION) for name, one, under in _walk("geosr", command, context)}


def _walk(name: str, command: Any, context: Any) -> Any:
    """Give the command and all below it, with their names and contexts."""
    yield name, command, context
    for key, sub in getattr(command, "commands", {}).items():
        yield from _walk(f"{name}-{key}", sub, type(context)(sub, info_name=key, parent=context))


def _page(name: str, command: Any, context: Any, version: str) -> str:
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n") if part.strip()]
    summary = (paragraphs[0] if paragraphs else "").rstrip(".")
    lines = [
        f'.TH "{_text(name).upper()}" "1" "" "geosr {version}" "geosr"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        f".B {_text(name.replace('-', ' ') if name != 'geosr' else name)}",
        _text(" ".join(command.collect_usage_pieces(context))),
    ]
    if paragraphs:
        lines += [".SH DESCRIPTION", *_paragraphs(paragraphs)]
    lines += _sections(command, context)
    commands = getattr(command, "commands", {})
    if commands:
        lines.append(".SH COMMANDS")
        for key, sub in commands.items():
            first = " ".join((sub.help or "").split("\n\n")[0].split())
            lines += [".TP", f".B {_text(f'{name}-{key}')}(1)", _text(first)]
    lines.append(".SH EXIT STATUS")
    for code, meaning in _EXIT:
        lines += [".TP", f".B {code}", meaning]
    if name != "geosr":
        lines += [".SH SEE ALSO", f".BR {_text(name.rpartition('-')[0])} (1)"]
    return "\n".join(lines) + "\n"


def _paragraphs(paragraphs: list[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (".PP", _text(paragraph))]


def _sections(command: Any, context: Any) -> list[str]:
    """Describe arguments and options, these under the titles that ``--help`` shows them in."""
    sections: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        title = ".SH ARGUMENTS" if parameter.param_type_name == "argument" else ".SH OPTIONS"
        sections.setdefault(title, [])
        if panel and title == ".SH OPTIONS":
            title = f".SS {_text(panel)}"
        sections.setdefault(title, []).extend([".TP", f"\\fB{_text(record[0])}\\fR", _text(record[1])])
    # Options without a title stand first: one after a title would belong to it.
    return [line for title in sorted(sections, key=_rank) for line in (title, *sections[title])]


def _rank(title: str) -> int:
    return (".SH ARGUMENTS", ".SH OPTIONS").index(title) if title.startswith(".SH") else 2


def _text(text: str) -> str:
    """Escape what roff would take for itself."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("–", "\\(en")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write_pages(folder: Path) -> list[Path]:
    """Write every page to a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in pages().items():
        path = folder / f"{name}.1"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "man"):
        print(written)
