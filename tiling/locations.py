"""Locations: paths on a disk or of objects in storage, and names derived from them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tiling.errors import OutputError

if TYPE_CHECKING:
    from upath import UPath

#: A path on a disk, or of an object in storage.
Location: TypeAlias = "Path | UPath"

#: A part of a file, as it is written.
Content: TypeAlias = "bytes | memoryview"

#: Storage that both fsspec and GDAL know, and how GDAL names it.
_VIRTUAL = {"s3": "/vsis3/"}

#: Longest name of a file that file systems take, bytes.
NAME_BYTES = 255


def locate(text: str | Path) -> Location:
    """Turn a path or a URL such as ``s3://bucket/key`` into a location.

    Parameters
    ----------
    text
        Path or URL.

    Returns
    -------
    Location
        A :class:`pathlib.Path`, or a ``UPath`` in storage.

    Raises
    ------
    OutputError
        The storage is unknown, or its library is not installed.

    Examples
    --------
    >>> locate("products/out.tif").name
    'out.tif'

    """
    scheme, separator, _ = str(text).partition("://")
    if isinstance(text, Path) or not separator:
        return Path(text)
    if scheme not in _VIRTUAL:
        shown = re.sub(r"://[^\s/?#]*@", "://", str(text)).partition("?")[0]
        raise OutputError(f"{shown} is neither a path nor in storage that is known (s3://…)")
    from upath import UPath

    try:
        # What other machines write must be seen: nothing is remembered of what was there.
        place = UPath(text, use_listings_cache=False)
        place.fs  # noqa: B018 - opens the file system, which may be missing
    except ImportError as error:
        raise OutputError(f"{text} needs a library that is not installed: pip install 'geosr[{scheme}]'") from error
    return place


def is_remote(path: Location) -> bool:
    """Tell whether a location is in storage rather than on a disk.

    Parameters
    ----------
    path
        Location.

    Returns
    -------
    bool
        True for storage.

    """
    return not isinstance(path, Path)


def gdal_path(path: Location) -> str:
    """Return the name by which GDAL opens a location.

    Parameters
    ----------
    path
        Location.

    Returns
    -------
    str
        A path, or a name such as ``/vsis3/bucket/key``.

    """
    if isinstance(path, Path):
        return str(path)
    return _VIRTUAL[path.protocol] + path.path


def derived_name(name: str, *, prefix: str = "", suffix: str = "") -> str:
    """Name a file that belongs to another one.

    Parameters
    ----------
    name
        Name of the other file.
    prefix, suffix
        Texts before and after it.

    Returns
    -------
    str
        The name; if it is longer than file systems allow, it is cut and a digest is added.

    Examples
    --------
    >>> derived_name("out.tif", prefix=".", suffix=".part")
    '.out.tif.part'

    """
    whole = f"{prefix}{name}{suffix}"
    if len(os.fsencode(whole)) <= NAME_BYTES:
        return whole
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    room = NAME_BYTES - len(os.fsencode(f"{prefix}~{digest}{suffix}"))
    kept = os.fsencode(name)[:room].decode("utf-8", "ignore")
    return f"{prefix}{kept}~{digest}{suffix}"
