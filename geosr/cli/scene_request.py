"""A scene request from the options of ``upscale``, ``search`` and ``info``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geosr.cli.errors import usage

if TYPE_CHECKING:
    import pystac

    from catalog import SceneRequest


@dataclass(frozen=True)
class SearchOptions:
    """Options of an area and of a search in it, as given."""

    bbox: str | None = None
    aoi: Path | None = None
    when: str | None = None
    max_cloud: float | None = None
    api: str | None = None
    collection: str | None = None
    layer: str | None = None
    where: str | None = None

    def check(self, source: str | None, *, search_only: bool) -> None:
        """Refuse a search without an area or dates, and one beside a ``source`` that is named."""
        if source is None and ((self.bbox is None and self.aoi is None) or self.when is None):
            raise usage(
                "nothing to work on: search with --bbox or --aoi and --datetime"
                + ("" if search_only else ", or name a source")
            )
        searching = {
            "--datetime": self.when,
            "--max-cloud": self.max_cloud,
            "--api": self.api,
            "--collection": self.collection,
        }
        idle = [option for option, value in searching.items() if value is not None]
        if source is not None and idle:
            raise usage(
                f"{' and '.join(idle)} would search for scenes, and a source is named already: leave one or the other "
                "out"
            )
        _refuse_empty({"--api": self.api, "--collection": self.collection})

    def area(self) -> Any:
        """Area of interest; None without one."""
        import catalog

        if self.bbox is not None and self.aoi is not None:
            raise usage("give --bbox or --aoi, not both")
        selecting = {"--layer": self.layer, "--where": self.where}
        idle = [option for option, value in selecting.items() if value is not None]
        if self.aoi is None and idle:
            raise usage(f"{' and '.join(idle)} would choose from the file of --aoi: give it as well")
        if self.bbox is not None:
            return catalog.parse_bbox(self.bbox)
        return None if self.aoi is None else catalog.read_aoi(self.aoi, self.layer, self.where)


@dataclass(frozen=True)
class SourceOptions:
    """A source and the options that say what it is, as given."""

    source: str | None = None
    """The first source, or the only one."""
    bands: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    plain_image: bool = False
    sensor: str | None = None
    acquired: str | None = None
    more: tuple[str, ...] = ()
    """Further sources, which are joined with the first."""

    def check(self) -> None:
        """Refuse numbers and names that no source has."""
        for option, number in (("--scale", self.scale), ("--offset", self.offset), ("--nodata", self.nodata)):
            if number is not None and not math.isfinite(number):
                raise usage(f"{option} is a finite number, not {number}")
        if self.scale == 0:
            raise usage("--scale cannot be 0")
        _refuse_empty({"--bands": self.bands})


def scene_request(source: SourceOptions | None, search: SearchOptions | None = None, **more: Any) -> SceneRequest:
    """Check the options of a source, or of a search alone where that is None."""
    import catalog
    from geosr.settings import settings

    search_only, source, search = source is None, source or SourceOptions(), search or SearchOptions()
    area = search.area()
    search.check(source.source, search_only=search_only)
    source.check()
    defaults = settings()
    return catalog.SceneRequest(
        source=source.source,
        more_sources=source.more,
        area=area,
        datetime=search.when,
        max_cloud=100 if search.max_cloud is None else search.max_cloud,
        api=search.api or defaults.api,
        collection=search.collection or defaults.collection,
        bands=[band.strip() for band in source.bands.split(",")] if source.bands else None,
        scale=source.scale,
        offset=source.offset,
        nodata=source.nodata,
        plain_image=source.plain_image,
        sensor=None if source.sensor is None else catalog.read_sensor(source.sensor),
        acquired=None if source.acquired is None else catalog.parse_acquired(source.acquired),
        **more,
    )


def find_items(request: SceneRequest) -> list[pystac.Item]:
    """Search for the Items of a request without a source."""
    import catalog

    assert request.area is not None
    assert request.datetime is not None
    return catalog.search(
        catalog.Query(request.area, request.datetime, request.api, request.collection, request.max_cloud)
    )


def band_list(option: str, text: str) -> tuple[str, ...]:
    """Split names of bands. Raises :class:`UsageError` where one is empty."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise usage(f"{option} {text!r} has an empty name: give names as B04,B08")
    return names


def _refuse_empty(options: dict[str, str | None]) -> None:
    for option, text in options.items():
        if text is not None and not text.strip(" ,"):
            raise usage(f"{option} is empty: leave it out, or say what it is to be")
