"""Properties of paths and addresses: local or remote, secret parts, and the file that they lead to."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlparse
from urllib.request import url2pathname

#: What paths begin with that GDAL reads over a network.
SYSTEMS = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsihdfs", "/vsiwebhdfs")

#: Keys of a URL's query that grant access and change with every signature, lower case: Azure's, Amazon's and Google's
#: older ones, and plain tokens. The newer ones of Amazon and Google have a prefix.
_SIGNING = frozenset(
    (
        *("sig", "se", "sp", "sv", "sr", "st", "ss", "srt", "sip", "spr"),
        *("skoid", "sktid", "skt", "ske", "sks", "skv"),
        *("awsaccesskeyid", "googleaccessid", "signature", "expires", "policy", "key-pair-id"),
        *("token", "access_token", "sas", "api_key", "apikey", "subscription-key"),
    )
)
_SIGNING_PREFIXES = ("x-amz-", "x-goog-")

#: A path into an archive or a part of a file, and the path of what holds it.
_ARCHIVE = re.compile(r"/vsi(?:zip|gzip|tar|7z|rar|subfile)/(?:[^/,]*,)?(.*)")

#: An address in running text, and its query; the path of an address, as HTTP libraries tell of it, and its query.
_QUERY = re.compile(r"((?:://|/vsi|\burl: ?/)[^\s?'\"]*)\?[^\s'\"]*")

#: A user's name and password in an address.
_USER = re.compile(r"://[^\s/?#'\"]*@")


def is_remote(path: str) -> bool:
    """Tell whether pixels are read over a network."""
    schemes = ("http://", "https://", "s3://", "gs://", "az://", "oss://", "swift://")
    return path.startswith(schemes) or any(system in path for system in SYSTEMS)


def local_path(href: str) -> str:
    """``file:`` addresses as paths; anything else as it is."""
    parsed = urlparse(href)
    return url2pathname(parsed.path) if parsed.scheme == "file" else href


def without_query(path: str) -> str:
    """An address without what may be a secret: a user's name and password, and the query of a signed URL."""
    return _USER.sub("://", path.partition("?")[0] if is_remote(path) else path)


def without_queries(text: str) -> str:
    """Remove users, passwords and queries from the addresses in a text.

    Parameters
    ----------
    text
        Running text, such as a message of GDAL.

    Returns
    -------
    str
        Text with shortened addresses.

    Examples
    --------
    >>> without_queries("cannot open https://user:secret@example.org/a.tif?sig=1")
    'cannot open https://example.org/a.tif'

    """
    return _USER.sub("://", _QUERY.sub(r"\1", text))


def query_digest(path: str) -> str | None:
    """SHA-256 of what an address's query asks for; None where it asks for nothing, but may grant access to it."""
    query = path.partition("?")[2] if is_remote(path) else ""
    asked = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if not _signs(key.lower())]
    return hashlib.sha256(urlencode(asked).encode()).hexdigest() if asked else None


def file_stamp(path: str) -> tuple[int, int] | None:
    """Size and time of change of a local file, or of the archive that a path leads into; None for anything else."""
    local = None if is_remote(path) else _local_file(path)
    if local is None:
        return None
    status = local.stat()
    return status.st_size, status.st_mtime_ns


def _local_file(path: str) -> Path | None:
    """The file that a path names, or the first on the way up from inside an archive."""
    inner = path
    while (inside := _ARCHIVE.match(inner)) is not None:
        inner = inside[1]
    named = Path(inner)
    return next((file for file in (named, *(named.parents if inner != path else ())) if file.is_file()), None)


def _signs(key: str) -> bool:
    return key in _SIGNING or key.startswith(_SIGNING_PREFIXES)
