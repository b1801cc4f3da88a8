"""Callbacks: addresses that are told of a job, as OGC API – Processes' ``subscriber`` has them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import requests
from pydantic import BaseModel, ConfigDict, Field

from catalog import host_allowed
from geosr.service.jobs.record import FAILED, RUNNING, SUCCESSFUL, Job
from geosr.service.problems import Problem
from geosr.service.request_types import Address

_log = logging.getLogger(__name__)

#: Seconds to wait before each further attempt, and for an answer.
_PAUSES_S = (2.0, 10.0, 60.0)
_TIMEOUT_S = (10, 30)

#: Callbacks that are sent at a time.
_AT_A_TIME = 4


class Subscriber(BaseModel):
    """Addresses that get a POST when a job begins, succeeds or fails."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    success_uri: Address = Field(alias="successUri")
    in_progress_uri: Address | None = Field(default=None, alias="inProgressUri")
    failed_uri: Address | None = Field(default=None, alias="failedUri")

    def check(self, hosts: Sequence[str]) -> None:
        """Raises :class:`Problem` for an address on a host that is not listed."""
        for address in (self.success_uri, self.in_progress_uri, self.failed_uri):
            if address is None:
                continue
            if not address.startswith(("http://", "https://")) or not host_allowed(address, hosts):
                raise Problem(403, "subscriber: has a host that is none of callback_hosts of this service")

    def address_for(self, status: str) -> str | None:
        """The address for jobs of a status."""
        return {SUCCESSFUL: self.success_uri, RUNNING: self.in_progress_uri, FAILED: self.failed_uri}.get(status)


class Callbacks:
    """Sends them, by way of the proxy; an address that does not answer is tried again a few times."""

    def __init__(self, hosts: Sequence[str], body: Callable[[Job], Any]) -> None:
        """``body`` gives the document that is sent of a job."""
        self._hosts, self._body = tuple(hosts), body
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="callback")
        self._stopped = Event()

    def announce(self, job: Job) -> None:
        """Send a job to its subscriber, if it has one for this status; returns at once."""
        wanted = json.loads(job.delivery).get("subscriber")
        if wanted is None:
            return
        address = Subscriber.model_validate(wanted).address_for(job.status)
        # The list of hosts may be another since the order.
        if address is not None and host_allowed(address, self._hosts) and not self._stopped.is_set():
            self._pool.submit(self._send, job, address)

    def stop(self) -> None:
        """Give up those that are not sent yet."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _send(self, job: Job, address: str) -> None:
        for pause in (*_PAUSES_S, None):
            try:
                # A redirect would lead to an address that nobody has checked.
                with requests.post(
                    address, json=self._body(job), timeout=_TIMEOUT_S, allow_redirects=False, stream=True
                ) as answer:
                    if answer.status_code < 300:
                        return
                    reason = f"it answered {answer.status_code}"
            # Of the connection, or of files that were removed meanwhile.
            except OSError as error:
                reason = type(error).__name__
            if pause is None or self._stopped.wait(pause):
                break
        _log.warning("callback of a job was not taken: %s", reason, extra={"job": job.id})
