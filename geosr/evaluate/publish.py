"""Writes an evaluation: ``evaluation.json`` and ``report.html`` in a folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalog.strict_json import to_json
from geosr.errors import ExistsError, UsageError
from geosr.evaluate.evaluation import Evaluation
from geosr.evaluate.real.evaluation import RealEvaluation
from geosr.evaluate.real.table import as_json as real_as_json
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

    return _write(as_json(evaluation), page(evaluation), folder)


def write_real(evaluation: RealEvaluation, folder: Path) -> list[Path]:
    """Like :func:`write`, for an evaluation on real images."""
    from geosr.evaluate.real.report import page

    return _write(real_as_json(evaluation), page(evaluation), folder)


def _write(figures: dict[str, Any], page: str, folder: Path) -> list[Path]:
    text = to_json(figures, indent=2, ensure_ascii=False) + "\n"
    written = []
    for name, content in zip(_NAMES, (text, page), strict=True):
        with replacing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
        written.append(folder / name)
    return written
