"""Policy of which files and hosts a process may open, for sources that others than its user name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from catalog.errors import RefusedError


@dataclass(frozen=True)
class Restriction:
    """GeoTIFF and JPEG 2000 files below some folders and on some hosts.

    Other drivers of GDAL open further files that a file names: a VRT opens any other file.
    """

    folders: tuple[Path, ...] = ()
    """Folders whose files may be opened."""
    hosts: tuple[str, ...] = ()
    """Names as ``example.org`` or ``127.0.0.1:8000``; ``*.example.org`` stands for all below it."""

    @staticmethod
    def driver_of(path: str) -> str:
        """Return the only GDAL driver that a path is opened with.

        Parameters
        ----------
        path
            Path or address.

        Returns
        -------
        str
            Name of the driver.

        """
        return "JP2OpenJPEG" if path.partition("?")[0].lower().endswith(".jp2") else "GTiff"

    def check(self, path: str) -> None:
        """Refuse a path or address that is not allowed.

        Parameters
        ----------
        path
            Path or address.

        Raises
        ------
        RefusedError
            It may not be opened.

        """
        if path.startswith(("http://", "https://")):
            if not host_allowed(path, self.hosts):
                raise RefusedError(f"{urlsplit(path).netloc.rpartition('@')[2]} is not a host that may be read from")
            return
        # Everything with a scheme or a system of GDAL's leads to where nothing is known of.
        if "://" in path or path.startswith("/vsi"):
            raise RefusedError(f"{path} may not be read: only https addresses may")
        real = Path(path).resolve()
        if not any(real.is_relative_to(folder.resolve()) for folder in self.folders):
            raise RefusedError("files of this machine may not be read")


def host_allowed(address: str, hosts: Sequence[str]) -> bool:
    """Tell whether an address is on one of the allowed hosts.

    Parameters
    ----------
    address
        URL.
    hosts
        Names such as ``example.org`` or ``127.0.0.1:8000``; ``*.example.org`` stands for all hosts below it.

    Returns
    -------
    bool
        True if the host is listed. A port other than the usual one must be listed with it.

    Examples
    --------
    >>> host_allowed("https://data.example.org/a.tif", ["*.example.org"])
    True
    >>> host_allowed("https://example.org:8443/a.tif", ["example.org"])
    False

    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.hostname is None:
        return False
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    name = parts.hostname.lower().rstrip(".")
    named = name if port in (None, usual) else f"{name}:{port}"
    return any(named == host or (host.startswith("*.") and named.endswith(host[1:])) for host in hosts)
