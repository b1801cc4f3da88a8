"""Errors of the catalog package.

CatalogError
├── RequestError      a request that cannot mean anything
├── SourceError       a source that cannot be opened or understood
│   ├── RefusedError  a source that must not be opened here
│   ├── ChangedError  a source that changed while it was read
│   └── ReadError     pixels that cannot be read
│       └── UnreachableError  pixels on a server that does not give them, perhaps later
├── RadiometryError   a source whose DN cannot be turned into reflectance
├── AreaError         an area of interest that cannot be used
└── SearchError       a STAC API that cannot be reached, or finds nothing
    └── NothingFoundError  a search that succeeded and matches no Item
"""

from __future__ import annotations

from typing import Any

from catalog.paths import without_queries


class CatalogError(Exception):
    """Base of everything this package raises on purpose.

    What grants access is taken out of the addresses in a message, wherever they come from.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_queries(message))


class RequestError(CatalogError):
    """The request is invalid: malformed text, or an option that has no effect on this source."""


class SourceError(CatalogError):
    """The source cannot be opened, or is not what it has to be."""


class RefusedError(SourceError):
    """The source is none of those that this process may open."""


class ChangedError(SourceError):
    """The source changed while it was read."""


class ReadError(SourceError):
    """Pixels of the source cannot be read."""


class UnreachableError(ReadError):
    """Pixels on a server did not come; they may, later."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        """Path or address of the raster whose pixels did not come."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.path)


class RadiometryError(CatalogError):
    """Nothing tells how DN become reflectance."""


class AreaError(CatalogError):
    """The area of interest cannot be read, or is outside the source."""


class SearchError(CatalogError):
    """The search failed or found nothing."""


class NothingFoundError(SearchError):
    """A search that succeeded, and matches no Item."""
