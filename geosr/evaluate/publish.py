"""Writes an evaluation: ``evaluation.json`` and ``report.html`` in a folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from catalog.strict_json import to_json
from geosr.errors import ExistsError, UsageError
from geosr.evaluate.evaluation import Evaluation
from geosr.evaluate.result import as_json
from tiling import OutputError, replacing

_NAMES = ("evaluation.json", "report.html")


def prepare(folder: Path, *, overwrite: bool) -> None:
    """See that an evaluation can be written before it is made, and make the folder.

    Raises :class:`UsageError` without what draws the plots, :class:`ExistsError` when results are there already.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("the report's plots need matplotlib: python -m pip install 'geosr[train]'")
    there = [str(folder / name) for name in _NAMES if (folder / name).exists()]
    if there and not overwrite:
        raise ExistsError(f"{' and '.join(there)} would be replaced: give --overwrite, or another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Both files. The same evaluation gives the same JSON."""
    from geosr.evaluate.report import page

    figures = to_json(as_json(evaluation), indent=2, ensure_ascii=False) + "\n"
    written = []
    for name, text in zip(_NAMES, (figures, page(evaluation)), strict=True):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written
