"""Requests to servers for all but pixels, which GDAL asks for, and how long a server is waited for."""

from __future__ import annotations

import functools
import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from pystac.stac_io import DefaultStacIO

from catalog.errors import SourceError, UnreachableError
from catalog.paths import without_query
from catalog.strict_json import json_text

if TYPE_CHECKING:
    import requests

#: Seconds to connect, and after which a server that sends nothing is given up.
CONNECT_S = 10
STALLED_S = 60

#: Seconds that one answer may take, its repetitions and the waits between them included, however steadily it comes.
TOTAL_S = 300.0

#: Times that a request is made whose server fails, or whose connection breaks.
ATTEMPTS = 5

#: Seconds before the second time; doubled each time, and between a half and all of it by chance, so that many clients
#: of a server that was away do not come back together.
FIRST_WAIT_S = 0.5

#: Longest wait that a server may ask for, seconds; one that asks for more is asked again after these.
LONGEST_WAIT_S = 60.0

#: Most bytes of one answer, decompressed.
MOST_BYTES = 64 * 2**20

#: What servers answer that may answer otherwise later.
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))

#: Bytes that are taken from a connection at a time.
_READ_BYTES = 2**16

_log = logging.getLogger(__name__)

_listener: Callable[[str], None] | None = None

Args = ParamSpec("Args")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Answer:
    """A server's answer to one request."""

    status: int
    headers: Mapping[str, str]
    """Their names are taken in any case."""
    content: bytes


@dataclass(frozen=True)
class Request:
    """Request to a server."""

    address: str
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    head_only: bool = False
    """Leave the content alone."""

    @property
    def shown(self) -> str:
        """The address without what may be secret."""
        return without_query(self.address)


class _BrokenError(Exception):
    """A connection broke, or nothing came: the same request may do better."""


@contextmanager
def announcing(listener: Callable[[str], None]) -> Iterator[None]:
    """Report long waits for servers to a listener inside a block; elsewhere they are logged as warnings.

    Parameters
    ----------
    listener
        Function that receives a sentence per wait.

    Yields
    ------
    None
        Nothing.

    """
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def fetch(request: Request, *, most_bytes: int | None = None, total_s: float | None = None) -> Answer:
    """Ask a server, again where it fails or the connection breaks.

    Parameters
    ----------
    request
        What to ask.
    most_bytes
        Most bytes of the answer, decompressed; ``MOST_BYTES`` by default.
    total_s
        Seconds for everything, waits included; ``TOTAL_S`` by default.

    Returns
    -------
    Answer
        With any status but those that mean a failure which may pass.

    Raises
    ------
    UnreachableError
        When the server cannot be reached, fails each time, or takes longer.
    SourceError
        When the answer is larger, or the address is none.

    """
    most = MOST_BYTES if most_bytes is None else most_bytes
    deadline = time.monotonic() + (TOTAL_S if total_s is None else total_s)
    problem, wait = "", FIRST_WAIT_S
    for attempt in range(ATTEMPTS):
        asked: float | None = None
        try:
            answer = _within(deadline, functools.partial(_ask, request, most))
            if answer.status not in _PASSING:
                return answer
            problem, asked = f"its server answers {answer.status}", _retry_after(answer.headers)
        except _BrokenError as error:
            problem = str(error)
        if attempt + 1 == ATTEMPTS:
            break
        pause = _pause(wait, asked, request, deadline)
        if pause is None:
            problem += f", and {_seconds(max(0.0, deadline - time.monotonic()))} are left to wait"
            break
        time.sleep(pause)
        wait *= 2
    raise UnreachableError(f"cannot reach {request.shown}: {problem}")


def patient(read: Callable[Args, Read]) -> Callable[Args, Read]:
    """Make a function that reads over a network try again where its server fails or its connection breaks.

    GDAL repeats single requests, a few times and without a server's own word on when. Between two tries of the whole,
    the server is asked for a byte as :func:`fetch` asks, so that pixels wait as Items do.
    """

    @functools.wraps(read)
    def trying(*args: Args.args, **kwargs: Args.kwargs) -> Read:
        deadline = time.monotonic() + TOTAL_S
        wait = FIRST_WAIT_S
        for _ in range(ATTEMPTS - 1):
            try:
                return read(*args, **kwargs)
            except UnreachableError as error:
                if error.path is None or time.monotonic() > deadline or not _answers(error.path, deadline):
                    raise
                time.sleep(wait * random.uniform(0.5, 1))
                wait *= 2
        return read(*args, **kwargs)

    return trying


class PatientStacIO(DefaultStacIO):
    """Reads Items as pystac does, with bounds on time and size."""

    def read_text_from_href(self, href: str) -> str:
        """The text of a file or an address."""
        if not href.startswith(("http://", "https://")):
            path = Path(href)
            return json_text(path.read_bytes()) if path.is_file() else super().read_text_from_href(href)
        answer = fetch(Request(href))
        if answer.status >= 400:
            raise UnreachableError(f"its server answers {answer.status}")
        return json_text(answer.content)


def version_of(path: str) -> dict[str, str | int]:
    """Return what a server says only of this version of a file: its size, and its version or time of change.

    Empty where the server says nothing, or nobody here knows how to ask it. Raises :class:`UnreachableError` when it
    does not answer.
    """
    address = path.removeprefix("/vsicurl/")
    if address.startswith(("http://", "https://")):
        return _of_address(address)
    for prefix in ("s3://", "/vsis3/"):
        if path.startswith(prefix):
            return _of_object(path.removeprefix(prefix))
    return {}


def _first_byte(address: str) -> Request:
    # Rather than a HEAD: an address may be signed for one method alone.
    headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    return Request(address, headers=headers, head_only=True)


def _of_address(address: str) -> dict[str, str | int]:
    answer = fetch(_first_byte(address))
    status, said = answer.status, answer.headers
    if status >= 400:
        # GDAL may have been told how to get in; whether that is so is seen when it opens the file.
        return {}
    size = said.get("Content-Range", "").rpartition("/")[2] if status == 206 else said.get("Content-Length", "")
    version = {"etag": said.get("ETag"), "modified": said.get("Last-Modified")}
    return _version(size, version)


def _of_object(key: str) -> dict[str, str | int]:
    import fsspec  # type: ignore[import-untyped]

    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "ON", "1")
    try:
        said = fsspec.filesystem("s3", anon=unsigned).info(key, refresh=True)
    except Exception:
        # The library may be absent, and storage has dozens of errors: GDAL will say what is wrong with the file.
        return {}
    return _version(
        str(said.get("size", "")), {"etag": said.get("ETag"), "modified": str(said.get("LastModified", ""))}
    )


def _version(size: str, version: dict[str, str | None]) -> dict[str, str | int]:
    """Size and the first of what tells a version: mirrors that agree on one may differ in the others."""
    told = next(((key, value) for key, value in version.items() if value), None)
    return {**({"size": int(size)} if size.isdecimal() else {}), **(dict([told]) if told else {})}


def _answers(path: str, deadline: float) -> bool:
    """Wait until a server answers again; tell whether it then gives what it is asked for.

    Raises :class:`UnreachableError` when it does not answer. Of storage that is not asked here, the answer is yes.
    """
    address = path.removeprefix("/vsicurl/")
    if not address.startswith(("http://", "https://")):
        return True
    return fetch(_first_byte(address), total_s=deadline - time.monotonic()).status < 400


def _within(deadline: float, call: Callable[[], Answer]) -> Answer:
    """Call a function within a time limit: a name server, or a server that drips, may take for ever.

    The thread of a call that is given up ends when its connection does.
    """
    results: queue.Queue[Answer | BaseException] = queue.Queue(1)

    def work() -> None:
        try:
            results.put(call())
        except BaseException as error:
            results.put(error)

    threading.Thread(target=work, name="fetch", daemon=True).start()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise _BrokenError("it takes too long to answer") from None
    if isinstance(result, BaseException):
        raise result
    return result


def _ask(request: Request, most: int) -> Answer:
    """Ask once. Raises :class:`_BrokenError` for what may do better the next time, or else :class:`SourceError`."""
    import requests
    from urllib3.exceptions import HTTPError

    try:
        with (
            requests.Session() as session,
            session.request(
                request.method,
                request.address,
                headers=request.headers,
                data=request.body,
                timeout=(CONNECT_S, STALLED_S),
                stream=True,
            ) as answer,
        ):
            content = b"" if request.head_only else _content(answer, most, request)
            return Answer(answer.status_code, answer.headers, content)
    except (HTTPError, OSError) as error:
        if _is_lasting(error):
            raise SourceError(f"cannot fetch {request.shown}: {_lasting_reason(error)}") from error
        raise _BrokenError(_reason(error)) from error


def _content(answer: requests.Response, most: int, request: Request) -> bytes:
    parts, size = [], 0
    # Whatever has come, at once: a server that drips is not waited for until a part is full.
    while part := answer.raw.read1(_READ_BYTES, decode_content=True):
        size += len(part)
        if size > most:
            raise SourceError(f"{request.shown} answers with more than {most} bytes, which are not read")
        parts.append(part)
    return b"".join(parts)


def _is_lasting(error: Exception) -> bool:
    """Tell whether an error is due to the address or the response rather than to the connection."""
    import requests
    from urllib3.exceptions import DecodeError, LocationParseError

    kinds = requests.exceptions
    passing = (requests.ConnectionError, requests.Timeout, kinds.ChunkedEncodingError)
    if isinstance(error, requests.RequestException):
        # Certificates are not mended by asking again.
        return isinstance(error, kinds.SSLError) or not isinstance(error, passing)
    return isinstance(error, DecodeError | LocationParseError)


def _lasting_reason(error: Exception) -> str:
    """Describe an error that another attempt does not mend."""
    from requests import exceptions

    if isinstance(error, exceptions.TooManyRedirects):
        return "it redirects from one address to another without end"
    if isinstance(error, exceptions.InvalidSchema):
        return "it redirects to an address that is not fetched"
    if isinstance(error, exceptions.SSLError):
        return "its certificate is not trusted, or it does not speak TLS"
    return type(error).__name__


def _reason(error: BaseException) -> str:
    """Describe the failure without any address."""
    text = repr(error).lower()
    if "timeout" in text or "timed out" in text:
        return "it timed out"
    if "nameresolution" in text or "gaierror" in text or "getaddrinfo" in text:
        return "its name is not known"
    if "refused" in text:
        return "the connection is refused"
    return "the connection breaks"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by number or by date; None where it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        # A number of any length.
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _pause(wait: float, asked: float | None, request: Request, deadline: float) -> float | None:
    """Seconds to wait before the next attempt; None where the time does not suffice."""
    pause = wait * random.uniform(0.5, 1)
    if asked is not None:
        pause = max(pause, min(asked, LONGEST_WAIT_S))
    if time.monotonic() + pause >= deadline:
        return None
    if pause > 1 and asked is not None:
        host = urlsplit(request.shown).netloc
        capped = f" of the {_seconds(asked)} that it asks for" if asked > LONGEST_WAIT_S else ", as it asks"
        _tell(f"{host} is busy: waiting {_seconds(pause)}{capped}")
    return pause


def _tell(text: str) -> None:
    if _listener is None:
        _log.warning("%s", text)
    else:
        _listener(text)


def _seconds(count: float) -> str:
    return f"{count:.0f} s"
