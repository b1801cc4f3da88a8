"""A scene request from the options of ``upscale``, ``search`` and ``info``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from geosr.cli.errors import usage


def scene_request(
    source: str | None,
    bbox: str | None,
    aoi: Path | None,
    when: str | None,
    max_cloud: float | None,
    api: str | None,
    collection: str | None,
    bands: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    picture: bool = False,
    acquired: str | None = None,
    **more: Any,
) -> Any:
    """Check the options of a source or a search; a :class:`catalog.SceneRequest`."""
    import catalog
    from geosr.settings import settings

    if bbox is not None and aoi is not None:
        raise usage("give --bbox or --aoi, not both")
    area = catalog.parse_bbox(bbox) if bbox is not None else catalog.read_aoi(aoi) if aoi is not None else None
    if source is None and (area is None or when is None):
        raise usage(
            "nothing to work on: search with --bbox or --aoi and --datetime" + (", or name a source" if more else "")
        )
    searching = {"--datetime": when, "--max-cloud": max_cloud, "--api": api, "--collection": collection}
    idle = [option for option, value in searching.items() if value is not None]
    if source is not None and idle:
        raise usage(
            f"{' and '.join(idle)} would search for scenes, and a source is named already: leave one or the other out"
        )
    for option, number in (("--scale", scale), ("--offset", offset), ("--nodata", more.get("nodata"))):
        if number is not None and not math.isfinite(number):
            raise usage(f"{option} is a finite number, not {number}")
    if scale == 0:
        raise usage("--scale cannot be 0")
    for option, text in (("--bands", bands), ("--api", api), ("--collection", collection)):
        if text is not None and not text.strip(" ,"):
            raise usage(f"{option} is empty: leave it out, or say what it is to be")
    defaults = settings()
    return catalog.SceneRequest(
        source=source,
        area=area,
        datetime=when,
        max_cloud=100 if max_cloud is None else max_cloud,
        api=api or defaults.api,
        collection=collection or defaults.collection,
        bands=[band.strip() for band in bands.split(",")] if bands else None,
        scale=scale,
        offset=offset,
        picture=picture,
        acquired=None if acquired is None else catalog.parse_acquired(acquired),
        **more,
    )


def sensor_profile(name: str | None) -> Any:
    """Read a sensor profile by name or file; None stays None."""
    import catalog

    return None if name is None else catalog.read_sensor(name)
