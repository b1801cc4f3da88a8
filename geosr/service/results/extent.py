"""The extent of results in space and time, as STAC's and OGC's collections have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geosr.service.results.period_and_area import period_of_item

_WORLD = [-180.0, -90.0, 180.0, 90.0]


def extent_of(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The box around Items and the time from the first to the last; all of both where there is none."""
    boxes = [box for item in items if (box := _flat(item.get("bbox"))) is not None]
    periods = [period for item in items if (period := period_of_item(item["properties"])) is not None]
    begins, ends = [one.begin for one in periods], [one.end for one in periods]
    begin = None if None in begins else min((one for one in begins if one is not None), default=None)
    end = None if None in ends else max((one for one in ends if one is not None), default=None)
    return {
        "spatial": {"bbox": [_around(boxes) if boxes else _WORLD]},
        "temporal": {"interval": [[None if one is None else one.isoformat() for one in (begin, end)]]},
    }


def _flat(box: Any) -> list[float] | None:
    """West, south, east and north of a box with or without heights."""
    if not isinstance(box, list) or len(box) not in (4, 6):
        return None
    half = len(box) // 2
    return [*box[:2], *box[half : half + 2]]


def _around(boxes: Sequence[list[float]]) -> list[float]:
    # A box across the antimeridian goes around the Earth with any other.
    across = any(west > east for west, _, east, _ in boxes)
    if across and len(boxes) == 1:
        return boxes[0]
    west, south, east, north = (list(side) for side in zip(*boxes, strict=True))
    return [-180.0 if across else min(west), min(south), 180.0 if across else max(east), max(north)]
