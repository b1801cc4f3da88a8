"""The command ``geosr search``."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from geosr.cli import options as opt
from geosr.cli.errors import errors
from geosr.cli.output import print_json
from geosr.cli.scene_request import SearchOptions, find_items, scene_request


def search(
    bbox: opt.Bbox = None,
    aoi: opt.Aoi = None,
    layer: opt.Layer = None,
    where: opt.Where = None,
    when: opt.When = None,
    max_cloud: opt.MaxCloud = None,
    api: opt.Api = None,
    collection: opt.Collection = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """List the scenes that a STAC API has of an area, clearest first. With --json, a GeoJSON FeatureCollection.

    An area (--bbox or --aoi) and --datetime are needed.
    """
    with errors(debug):
        import catalog

        items = find_items(
            scene_request(None, SearchOptions(bbox, aoi, when, max_cloud, api, collection, layer, where))
        )
        if as_json:
            features = [item.to_dict(transform_hrefs=False) for item in items]
            print_json({"type": "FeatureCollection", "features": features})
            return
        table = Table("Item", "time (UTC)", "clouds %", "platform", Column("address", overflow="fold"), box=None)
        for row in catalog.describe(items):
            clouds = "" if row["clouds"] is None else f"{row['clouds']:.0f}"
            cells = (row["id"], row["datetime"], clouds, row["platform"], row["href"])
            table.add_row(*(escape(str(cell)) for cell in cells))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
