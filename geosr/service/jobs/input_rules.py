"""Rules of inputs that go or do not go together, as a JSON schema: what :class:`UpscaleInputs` checks, for clients."""

from __future__ import annotations

from typing import Any

from geosr.service.request_types import all_given

_NULL = {"type": "null"}


def _rule(given: tuple[str, ...], absent: tuple[str, ...], *, may_fill: bool = True) -> dict[str, Any]:
    """Schema of inputs of which some are given and others are not."""
    rule = all_given(*given)
    rule["properties"] |= dict.fromkeys(absent, _NULL) | ({} if may_fill else {"fill": {"const": False}})
    return rule


_OF_SEARCH = ("datetime", "dates", "reference")

#: A scene, a scene with others, an Item, or a search in a box or in polygons, for one date or for several.
UPSCALE_RULES: dict[str, Any] = {
    "not": all_given("bbox", "aoi"),
    "anyOf": [
        _rule(("scene",), ("item", "others", *_OF_SEARCH)),
        _rule(("scene", "others"), ("item", *_OF_SEARCH), may_fill=False),
        _rule(("item",), ("scene", "others", *_OF_SEARCH)),
        *(_rule(("datetime", area), ("scene", "item", "others", "dates", "reference")) for area in ("bbox", "aoi")),
        *(_rule(("datetime", "dates", area), ("scene", "item", "others"), may_fill=False) for area in ("bbox", "aoi")),
    ],
}
