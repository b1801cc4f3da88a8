"""Search of a STAC API, with local filters for what the server cannot filter."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pystac
import shapely
from shapely.geometry.base import BaseGeometry

from catalog.errors import NothingFoundError, RequestError, SearchError
from catalog.items import first_line, ground_of
from catalog.search_io import bounded_io

if TYPE_CHECKING:
    from pystac_client import Client

#: The public Earth Search catalogue, which needs no account.
DEFAULT_API = "https://earth-search.aws.element84.com/v1"
DEFAULT_COLLECTION = "sentinel-2-l2a"

#: A year, month, day or RFC 3339 instant, or an open end.
_INSTANT = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2}))?)?)?|\.\.")


@dataclass(frozen=True)
class Query:
    """Parameters of a search."""

    area: BaseGeometry
    """Polygon in degrees."""
    datetime: str
    """An RFC 3339 instant, day, month, year, or two of them as ``2024-06-01/2024-08-31``; ``..`` is open."""
    api: str = DEFAULT_API
    """Address of the STAC API."""
    collection: str = DEFAULT_COLLECTION
    """Collection to search in."""
    max_cloud: float = 100
    """Highest cloud cover of an Item, percent."""
    max_items: int = 1000
    """Largest number of Items to take. A search that finds more is refused: the best may be among the rest."""


def search(query: Query) -> list[pystac.Item]:
    """Search a STAC API.

    Parameters
    ----------
    query
        Area, dates, API, collection and limits.

    Returns
    -------
    list[pystac.Item]
        Matching Items, clearest first, then latest.

    Raises
    ------
    RequestError
        The dates are malformed.
    SearchError
        The API cannot be reached, refuses the query, or finds nothing or too much.

    """
    _check_datetime(query.datetime)
    client = _connect(query.api)
    filters: dict[str, Any] = {}
    if query.max_cloud < 100 and client.conforms_to("QUERY"):
        filters["query"] = {"eo:cloud_cover": {"lte": query.max_cloud}}
    if client.conforms_to("SORT"):
        filters["sortby"] = [{"field": "properties.eo:cloud_cover", "direction": "asc"}]
    try:
        found = client.search(
            collections=[query.collection],
            intersects=shapely.geometry.mapping(query.area),
            datetime=query.datetime,
            max_items=query.max_items,
            **filters,
        )
        items = list(found.items())
        matching = sorted((item for item in items if _matches(item, query)), key=_rank)
    except Exception as error:
        # A server may answer anything: an error of its own, a page of HTML, features that are no Items.
        raise SearchError(f"the search at {query.api} failed: {first_line(error)}") from error
    if len(items) >= query.max_items:
        raise SearchError(f"more than {query.max_items} Items found at {query.api}: narrow the dates or the area")
    if not matching:
        hidden = f"; {len(items)} found are cloudier than {query.max_cloud:g} %" if items else ""
        raise NothingFoundError(
            f"nothing found at {query.api} in {query.collection} for {query.datetime} and this area{hidden}: "
            "widen the dates or the area, or raise --max-cloud"
        )
    return matching


def _matches(item: pystac.Item, query: Query) -> bool:
    """Checked here whatever the server claims: not every API filters, and some return neighbours."""
    clouds = item.properties.get("eo:cloud_cover")
    if clouds is not None and float(clouds) > query.max_cloud:
        return False
    footprint = ground_of(item)
    west = shapely.transform(footprint, lambda xy: xy - (360.0, 0.0))
    return bool(footprint.intersects(query.area) or west.intersects(query.area))


def _rank(item: pystac.Item) -> tuple[float, float, str]:
    clouds = item.properties.get("eo:cloud_cover")
    when = item.datetime
    seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() if when else 0.0
    return (float(clouds) if clouds is not None else 0.0, -seconds, item.id)


def _connect(api: str) -> Client:
    from pystac_client import Client

    try:
        with warnings.catch_warnings():
            # An API that declares few conformance classes is expected: what it lacks is done here.
            warnings.simplefilter("ignore")
            client = Client.open(api, stac_io=bounded_io(api))
            searches = client.conforms_to("ITEM_SEARCH")
    except Exception as error:
        raise SearchError(f"cannot reach a STAC API at {api}: {first_line(error)}") from error
    if not searches:
        raise SearchError(f"{api} is a STAC catalogue without item search: give the address of a STAC API")
    return client


def _check_datetime(text: str) -> None:
    from pystac_client.item_search import ItemSearch

    message = f"not a date or a range of dates: {text!r}; give 2024-06-01, 2024-06, or 2024-06-01/2024-08-31"
    first, slash, last = text.partition("/")
    parts = (first, last) if slash else (first,)
    if not all(_INSTANT.fullmatch(part) for part in parts) or set(parts) == {".."}:
        raise RequestError(message)
    try:
        resolved = str(ItemSearch("", datetime=text).get_parameters()["datetime"])
    except ValueError as error:
        raise RequestError(message) from error
    begin, _, end = resolved.partition("/")
    if end and ".." not in (begin, end) and begin > end:
        raise RequestError(f"the range of dates {text} ends before it begins")


def describe(items: Sequence[pystac.Item]) -> list[dict[str, object]]:
    """Make a table of Items.

    Parameters
    ----------
    items
        Items of a search.

    Returns
    -------
    list[dict[str, object]]
        One row per Item: ``id``, ``datetime``, ``clouds`` (percent), ``platform`` and ``href``.

    """
    return [
        {
            "id": item.id,
            "datetime": item.datetime.strftime("%Y-%m-%d %H:%M") if item.datetime else "",
            "clouds": item.properties.get("eo:cloud_cover"),
            "platform": item.properties.get("platform", ""),
            "href": item.get_self_href() or "",
        }
        for item in items
    ]
