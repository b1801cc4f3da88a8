"""JSON as its standard defines it, without NaN and infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(content: Any, **options: Any) -> str:
    """Write JSON like :func:`json.dumps`, with null for numbers that are not finite.

    Parameters
    ----------
    content
        Lists, mappings and values.
    **options
        Options of :func:`json.dumps`.

    Returns
    -------
    str
        JSON text.

    Examples
    --------
    >>> to_json({"gain": float("nan")})
    '{"gain": null}'

    """
    return json.dumps(finite(content), allow_nan=False, **options)


def json_text(content: bytes) -> str:
    r"""Decode a JSON document by its first bytes: UTF-8, which may begin with a byte order mark, or UTF-16 or UTF-32.

    Raises :class:`UnicodeDecodeError`.

    Examples
    --------
    >>> json_text(b"\xef\xbb\xbf{}")
    '{}'

    """
    return content.decode(json.detect_encoding(content))


def finite(content: Any) -> Any:
    """Return the content with None for each number that is not finite."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content
