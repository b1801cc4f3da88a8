"""Pages of lists: how many entries, and how many before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

#: Entries of a page at most.
MOST = 1000

#: Lists are never so long; no offset is beyond what a database can count.
MOST_BEFORE = 10**9


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    limit: int
    offset: int


async def _page(
    limit: Annotated[int, Query(ge=1, le=MOST)] = 20, offset: Annotated[int, Query(ge=0, le=MOST_BEFORE)] = 0
) -> Page:
    return Page(limit, offset)


PageOf = Annotated[Page, Depends(_page)]
