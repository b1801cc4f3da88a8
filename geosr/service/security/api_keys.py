"""API keys, of which only hashes are kept, and the rate at which each may ask."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass

from geosr.errors import UsageError
from geosr.service.database import Database
from geosr.service.problems import Problem, too_many

_PREFIX = "geosr_"

#: Callers whose rates are kept; the longest silent are forgotten.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Caller:
    """Client that sends a request."""

    key_id: str | None
    """None where there are no keys."""


def create_key(database: Database, name: str) -> tuple[str, str]:
    """A new key: its id, and the key itself, which cannot be seen again."""
    if not name.strip():
        raise UsageError("a key needs a name, to tell it from others")
    # 256 random bits: nobody guesses them, so their hash needs neither salt nor time.
    key, key_id = _PREFIX + secrets.token_urlsafe(32), secrets.token_hex(4)
    database.change(
        "INSERT INTO keys (id, name, hash, created) VALUES (?, ?, ?, ?)", (key_id, name, _hash(key), time.time())
    )
    return key_id, key


def revoke_key(database: Database, key_id: str) -> None:
    """End a key. Raises :class:`UsageError` when there is none of this id that holds."""
    if not database.change("UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), key_id)):
        raise UsageError(f"no key {key_id} holds: `geosr keys list` shows them")


def list_keys(database: Database) -> list[dict[str, object]]:
    """All keys, without themselves."""
    return [dict(row) for row in database.rows("SELECT id, name, created, revoked FROM keys ORDER BY created")]


def caller_of(database: Database, key: str | None) -> Caller:
    """Caller that has a key. Raises :class:`Problem` for one that is missing, unknown or revoked."""
    if not key:
        raise _no_key("an API key is needed: send it as X-API-Key")
    row = database.row("SELECT id, revoked FROM keys WHERE hash = ?", (_hash(key),))
    if row is None:
        raise _no_key("this API key is not known")
    if row["revoked"] is not None:
        raise _no_key("this API key was revoked")
    return Caller(row["id"])


def _no_key(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="geosr"'})


class Rates:
    """Token buckets: so many requests in a period, all at once if need be."""

    def __init__(self, most: int, seconds: float = 60, what: str = "requests in this minute") -> None:
        self._most, self._per_s, self._what = float(most), most / seconds, what
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> None:
        """Count a request. Raises :class:`Problem` when there were too many."""
        now = time.monotonic()
        with self._lock:
            left, since = self._buckets.pop(who, (self._most, now))
            left = min(self._most, left + (now - since) * self._per_s)
            # In again at the end: the first of the dictionary is the longest silent.
            self._buckets[who] = (max(0.0, left - 1), now)
            if len(self._buckets) > _REMEMBERED:
                del self._buckets[next(iter(self._buckets))]
        if left < 1:
            raise too_many(f"too many {self._what}", int((1 - left) / self._per_s) + 1)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
