"""Scenes: found by STAC search or given by name, their radiometry, their pixels, and the Items of results.

Knows nothing of networks or HTTP services.
"""

from catalog.acquisition import Acquisition, parse_acquired
from catalog.area import parse_aoi, parse_bbox, read_aoi
from catalog.dates import MOST_DATES, DateChoice, DateSeries, OtherDate, open_dates, series_of_scenes
from catalog.errors import (
    AreaError,
    CatalogError,
    ChangedError,
    NothingFoundError,
    RadiometryError,
    ReadError,
    RefusedError,
    RequestError,
    SearchError,
    SourceError,
    UnreachableError,
)
from catalog.gdal import forget, restrict, restricted, restriction_in_force
from catalog.identity import check_unchanged
from catalog.paths import without_queries
from catalog.pixel_size import gsd_m_of, pixel_sides_m
from catalog.publish import Result, ResultLayer, item_of_comparison, item_of_result
from catalog.restriction import Restriction, host_allowed
from catalog.scene import BandSpec, PixelReader, Scene
from catalog.search import DEFAULT_API, DEFAULT_COLLECTION, Query, describe, search
from catalog.sensors import SensorProfile, read_sensor, sensor_names
from catalog.sources import SceneRequest, open_scene
from catalog.strict_json import to_json
from catalog.web import announcing

__all__ = [
    "DEFAULT_API",
    "DEFAULT_COLLECTION",
    "MOST_DATES",
    "Acquisition",
    "AreaError",
    "BandSpec",
    "CatalogError",
    "ChangedError",
    "DateChoice",
    "DateSeries",
    "NothingFoundError",
    "OtherDate",
    "PixelReader",
    "Query",
    "RadiometryError",
    "ReadError",
    "RefusedError",
    "RequestError",
    "Restriction",
    "Result",
    "ResultLayer",
    "Scene",
    "SceneRequest",
    "SearchError",
    "SensorProfile",
    "SourceError",
    "UnreachableError",
    "announcing",
    "check_unchanged",
    "describe",
    "forget",
    "gsd_m_of",
    "host_allowed",
    "item_of_comparison",
    "item_of_result",
    "open_dates",
    "open_scene",
    "parse_acquired",
    "parse_aoi",
    "parse_bbox",
    "pixel_sides_m",
    "read_aoi",
    "read_sensor",
    "restrict",
    "restricted",
    "restriction_in_force",
    "search",
    "sensor_names",
    "series_of_scenes",
    "to_json",
    "without_queries",
]
