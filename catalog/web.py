"""What is asked of servers besides pixels, which GDAL asks for."""

from __future__ import annotations

import os

from pystac.stac_io import DefaultStacIO

from catalog.errors import UnreachableError
from catalog.paths import without_query

#: Seconds to connect, and after which a server that sends nothing is given up: nobody waits for ever.
CONNECT_S = 10
STALLED_S = 60


class PatientStacIO(DefaultStacIO):
    """Reads Items as pystac does, but does not wait for ever."""

    def read_text_from_href(self, href: str) -> str:
        """The text of a file or an address."""
        if not href.startswith(("http://", "https://")):
            return super().read_text_from_href(href)
        import requests

        answer = requests.get(href, timeout=(CONNECT_S, STALLED_S))
        answer.raise_for_status()
        return answer.content.decode("utf-8")


def version_of(path: str) -> dict[str, str | int]:
    """What a server says of a remote file and would not say of another: its size, and its version or time of change.

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


def _of_address(address: str) -> dict[str, str | int]:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    patience = Retry(3, read=0, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    # A first byte rather than a HEAD: an address may be signed for one method alone.
    headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=patience))
            with session.get(address, headers=headers, timeout=(CONNECT_S, STALLED_S), stream=True) as answer:
                status, said = answer.status_code, answer.headers
    except requests.RequestException as error:
        raise UnreachableError(f"cannot reach {without_query(address)}: {type(error).__name__}") from error
    if status >= 500 or status == 429:
        raise UnreachableError(f"cannot reach {without_query(address)}: its server answers {status}")
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
