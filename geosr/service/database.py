"""The service's database: sqlite in WAL mode, in one file, which survives a kill at any moment."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geosr.errors import UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created REAL NOT NULL, revoked REAL
) STRICT;
CREATE TABLE IF NOT EXISTS scenes (
    id TEXT PRIMARY KEY, key_id TEXT, kind TEXT NOT NULL, title TEXT NOT NULL, source TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, key_id TEXT, status TEXT NOT NULL, inputs TEXT NOT NULL, digest TEXT NOT NULL,
    folder TEXT NOT NULL, priority INTEGER NOT NULL, message TEXT NOT NULL DEFAULT '',
    finished_chunks INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0, seconds_left REAL,
    created REAL NOT NULL, started REAL, finished REAL, updated REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS fields (
    id TEXT PRIMARY KEY, key_id TEXT, title TEXT NOT NULL, count INTEGER NOT NULL, created REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, priority DESC, created);
CREATE INDEX IF NOT EXISTS jobs_by_digest ON jobs (digest, status);
PRAGMA user_version = 1;
"""

#: Columns that came later, in the order in which they did.
_LATER = {
    "jobs": (
        ("failure_status", "INTEGER"),
        ("delivery", "TEXT NOT NULL DEFAULT '{}'"),
        ("title", "TEXT"),
        ("process", "TEXT NOT NULL DEFAULT 'upscale'"),
    ),
    "scenes": (("nodata", "REAL"), ("sensor", "TEXT")),
}


class Database:
    """One connection, used by one thread at a time: statements take microseconds."""

    def __init__(self, folder: Path) -> None:
        """Raises :class:`UsageError` when the folder cannot hold it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / "geosr.db", check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            # Another process, `geosr keys`, may write at the same time.
            self._connection.execute("PRAGMA busy_timeout = 10000")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self._add_columns()
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"the service cannot keep its database in {folder}: {error}") from error
        self._lock = threading.RLock()

    def _add_columns(self) -> None:
        """Add what tables of earlier versions lack."""
        for table, columns in _LATER.items():
            known = {row["name"] for row in self._connection.execute(f"PRAGMA table_info({table})")}
            for name, kind in columns:
                if name not in known:
                    self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return found

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Change rows; how many were."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()
