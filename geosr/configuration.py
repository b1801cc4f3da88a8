"""Configurations in YAML: read, checked by what they are to become, and the files that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from catalog.bounded_yaml import load_yaml
from geosr.errors import GeosrError

_Model = TypeVar("_Model", bound=BaseModel)


def read_yaml(path: Path, model: type[_Model], wrong: type[GeosrError]) -> _Model:
    """A file as ``model``.

    One that says ``extends: OTHER.yaml`` takes every field that it does not name from that file beside it, which may
    extend another.

    Raises ``wrong``, naming the first field that is.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "extends" in content:
            content = {**_extended(path.parent / str(content.pop("extends")), [path], wrong), **content}
        return model.model_validate(content)
    except OSError as error:
        raise wrong(f"cannot read the configuration {error.filename}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise wrong(f"{path} is wrong{' at ' + where if where else ''}: {first['msg']}") from error
    except RecursionError as error:
        raise wrong(f"{path} is not a configuration: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        # Dates that are none and numbers of thousands of digits are no errors of YAML's.
        raise wrong(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def find_files(folder: Path, pattern: str, wrong: type[GeosrError]) -> list[Path]:
    """Files that match a pattern in a folder, by name. Raises ``wrong`` for what is no pattern in there."""
    try:
        return sorted(folder.glob(pattern))
    except (ValueError, IndexError, NotImplementedError) as error:
        raise wrong(
            f"{pattern!r} is not a pattern of files in {folder}: name them from that folder on, as '*.tif', or "
            "'**/*.tif' for those of all folders in it"
        ) from error


def _extended(base: Path, chain: list[Path], wrong: type[GeosrError]) -> dict[str, Any]:
    """Fields of a file that the last of ``chain`` extends, and of those that it extends itself."""
    if base in chain:
        raise wrong(f"{base} extends itself through {chain[-1]}")
    content = load_yaml(base.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise wrong(f"{base}, which {chain[-1]} extends, holds no fields")
    if "extends" in content:
        content = {**_extended(base.parent / str(content.pop("extends")), [*chain, base], wrong), **content}
    return content
