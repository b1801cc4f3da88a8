"""Links to results that lead there without a key, for some hours: signed by a secret of the service's folder."""

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
    """Signs paths of a job's files, and knows them again."""

    def __init__(self, folder: Path, hours: float) -> None:
        """The secret is made at the first start, in ``folder``, and stays: links outlive a restart."""
        self._seconds = hours * 3600
        path = folder / "links.key"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
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
