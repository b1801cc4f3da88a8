"""Cache on disk of what was computed: nothing depends on it, so a full disk spoils nothing."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import diskcache  # type: ignore[import-untyped]

_log = logging.getLogger(__name__)


def keep(cache: diskcache.Cache, name: str, value: Any, *, tag: str) -> None:
    """Put a value into a cache, or go without: then it is made anew when it is asked for again."""
    try:
        cache.set(name, value, tag=tag)
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        _log.warning("the cache takes nothing: %s", error)
