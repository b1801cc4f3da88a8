"""Identity of a source: what distinguishes it from others, and from itself after a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from catalog.errors import ChangedError, UnreachableError
from catalog.gdal import check_allowed, forget
from catalog.paths import file_stamp, is_remote, query_digest, without_query
from catalog.scene import Scene
from catalog.web import version_of

Identity = dict[str, str | int]

#: Files that servers are asked about at a time: each answers after a while, but many together.
_AT_A_TIME = 8

#: Times that a server is asked again whose answer is not what it was.
_MIRRORS = 4

#: What tells that a file is another one of the same size.
_VERSIONS = {"etag", "modified"}


def look_up(paths: Iterable[str]) -> dict[str, Identity]:
    """The identity of each path, with what servers say of those that are remote.

    Raises :class:`catalog.errors.RefusedError` for an address that must not be asked, and
    :class:`catalog.errors.UnreachableError` where a server does not answer.
    """
    each = list(dict.fromkeys(paths))
    remote = [path for path in each if is_remote(path)]
    for path in remote:
        check_allowed(path)
        # What is open of it may be of an earlier version than the one that is told now.
        forget(path)
    versions: dict[str, Identity] = {}
    if remote:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            versions = dict(zip(remote, pool.map(version_of, remote), strict=True))
    return {path: raster_identity(path) | versions.get(path, {}) for path in each}


def raster_identity(path: str) -> Identity:
    """Return the properties of a file that change with it: size and time of change of a local file.

    Of an address the query counts, except for what grants access; :func:`look_up` adds what its server says.
    """
    stamp = file_stamp(path)
    if stamp is None:
        asked = query_digest(path)
        return {"path": without_query(path), **({} if asked is None else {"query_sha256": asked})}
    size, modified_ns = stamp
    return {"path": path, "size": size, "modified_ns": modified_ns}


def check_unchanged(scene: Scene) -> None:
    """Compare a scene's sources with their identity at the time of opening.

    Parameters
    ----------
    scene
        Scene whose pixels have been read.

    Raises
    ------
    ChangedError
        A source has changed, so pixels of two versions may have been mixed.
    UnreachableError
        A server does not answer.

    """
    now = look_up(scene.rasters)
    for path, before in scene.rasters.items():
        if is_remote(path) and _versioned(before) and not _versioned(now[path]):
            raise UnreachableError(f"the server of {without_query(path)} does not say any more whether it changed")
    differing = [path for path, before in scene.rasters.items() if now[path] != before]
    for _ in range(_MIRRORS):
        # Behind one name there may be several servers, each with a version of its own for the same file.
        differing = [path for path in differing if not is_remote(path) or look_up([path])[path] != scene.rasters[path]]
    changed = [without_query(path) for path in differing]
    if changed:
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ChangedError(
            f"{changed[0]}{others} changed while it was read, so nothing was written: run the same again once it no "
            "longer changes"
        )


def notes_on(found: Mapping[str, Identity]) -> list[str]:
    """A word on remote files of which no server tells the version."""
    silent = {
        urlsplit(path).netloc.rpartition("@")[2] or path
        for path, one in found.items()
        if is_remote(path) and not _versioned(one)
    }
    if not silent:
        return []
    places = ", ".join(without_query(place) for place in sorted(silent))
    return [f"{places} tells no version of its files: should the source change, nobody would notice"]


def _versioned(one: Mapping[str, str | int]) -> bool:
    return not _VERSIONS.isdisjoint(one)
