"""Signed links to results, which need no key for some hours; the secret is in the service's folder."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from geosr.service.problems import Problem

_SECRET_BYTES = 32


class SignedLinks:
    """Sign paths of a job's files, and check their signatures."""

    def __init__(self, folder: Path, hours: float) -> None:
        """The secret is made at the first start, in ``folder``, and stays: links outlive a restart."""
        self._seconds = hours * 3600
        path = folder / "links.key"
        # Anybody could sign with an empty one, which a full disk leaves.
        if not path.exists() or path.stat().st_size != _SECRET_BYTES:
            _write_secret(path)
        self._secret = path.read_bytes()

    def path(self, job_id: str, name: str) -> tuple[str, int]:
        """The path of a file of a job, and the second since 1970 until which it holds."""
        expires = int(time.time() + self._seconds)
        return f"/shared/{job_id}/{expires}/{self._signature(job_id, name, expires)}/{name}", expires

    def check(self, job_id: str, name: str, expires: int, signature: str) -> None:
        """Raises :class:`Problem` for a link that was not signed here, or does not hold any more."""
        if not hmac.compare_digest(self._signature(job_id, name, expires).encode(), signature.encode()):
            raise Problem(403, "the link was not signed by this service")
        if time.time() > expires:
            raise Problem(410, "the link does not hold any more: ask for another")

    def _signature(self, job_id: str, name: str, expires: int) -> str:
        return hmac.new(self._secret, f"{job_id}/{name}/{expires}".encode(), hashlib.sha256).hexdigest()


def _write_secret(path: Path) -> None:
    """Write a new secret, whole or not at all, that only the service's user reads."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
