"""JSON as its standard has it, which knows neither NaN nor infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(content: Any, **options: Any) -> str:
    """Like :func:`json.dumps`, but numbers that are not finite are null. ``options`` are that function's."""
    return json.dumps(finite(content), allow_nan=False, **options)


def finite(content: Any) -> Any:
    """The same content with None for each number in it that is not finite."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content
