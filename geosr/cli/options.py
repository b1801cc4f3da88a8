"""The options of the command, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _option(panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **more)


_AREA = "Area of interest"
_SOURCE = "What the source is"
_HOW = "How to upscale"
_OUT = "Output"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE…",
        help="Raster, STAC Item or search result, by path or URL, or .SAFE folder or zip; several of one date, or a "
        "folder or .txt of them, are joined, and several dates fused with --dates or --reference; leave out to search.",
        show_default=False,
    ),
]
Described = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="Raster or STAC Item, by path or URL, or .SAFE folder or zip; leave out with --system.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.tif",
        help="COG to write, on a disk or s3://…; its STAC Item "
        "goes to OUT.json, or to OUT.tif.json beside an OUT.json of something else.",
    ),
]

Bbox = Annotated[str | None, _option(_AREA, "--bbox", metavar="W,S,E,N", help="Box in degrees: west,south,east,north.")]
Aoi = Annotated[
    Path | None,
    _option(
        _AREA,
        "--aoi",
        metavar="FILE",
        help="Polygons: GeoPackage, Shapefile, KML, FlatGeobuf, GeoJSON, … in any CRS; their bounding box is used.",
    ),
]
Layer = Annotated[
    str | None, _option(_AREA, "--layer", metavar="NAME", help="Layer of the area's file.", show_default="its only one")
]
Where = Annotated[
    str | None,
    _option(
        _AREA, "--where", metavar="SQL", help="Features of the area's file, as \"crop = 'wheat'\".", show_default="all"
    ),
]
Clip = Annotated[bool, _option(_AREA, "--clip", help="Cut the product to the area: nodata outside its polygons.")]
AllTouched = Annotated[
    bool,
    _option(_AREA, "--all-touched", help="With --clip, keep every pixel that the area touches."),
]
When = Annotated[
    str | None,
    _option(
        _AREA, "--datetime", metavar="DATES", help="When to search: 2024-06-01, 2024-06, or 2024-06-01/2024-08-31."
    ),
]
MaxCloud = Annotated[
    float | None,
    _option(_AREA, "--max-cloud", metavar="PERCENT", min=0, max=100, help="Highest cloud cover.", show_default="100"),
]
Api = Annotated[
    str | None, _option(_AREA, "--api", metavar="URL", help="STAC API to search.", show_default="Earth Search")
]
Collection = Annotated[
    str | None, _option(_AREA, "--collection", help="Collection to search.", show_default="sentinel-2-l2a")
]
Fill = Annotated[bool, _option(_AREA, "--fill", help="Fill gaps from other overpasses, clearest first.")]
Dates = Annotated[
    int | None,
    _option(
        _AREA,
        "--dates",
        metavar="N",
        help="Correct one date's image by others, N dates in all; of several sources all by default.",
        show_default=False,
    ),
]
Reference = Annotated[
    str | None,
    _option(
        _AREA,
        "--reference",
        metavar="DATE|SOURCE",
        help="Of several dates, the one whose product is made, as 2023-07-13.",
        show_default="the clearest, of files the first",
    ),
]
MaskClouds = Annotated[bool, _option(_AREA, "--mask-clouds", help="Make clouds, shadows and saturated pixels nodata.")]
Crs = Annotated[
    str | None,
    _option(_AREA, "--crs", metavar="EPSG:…", help="Put the scene on a grid of this CRS (resamples)."),
]

Bands = Annotated[
    str | None,
    _option(
        _SOURCE,
        "--bands",
        metavar="NAMES",
        help="Bands to use, as B02,B03,B04,B08; for a raster with unnamed bands, their names in order (- skips one).",
    ),
]
Scale = Annotated[
    float | None, _option(_SOURCE, "--scale", help="Reflectance per DN, instead of what the source says.")
]
Offset = Annotated[
    float | None, _option(_SOURCE, "--offset", help="Reflectance at DN 0, instead of what the source says.")
]
Nodata = Annotated[
    float | None,
    _option(_SOURCE, "--nodata", help="A DN without measurement, besides those that the source declares."),
]
PlainImage = Annotated[
    bool, _option(_SOURCE, "--plain-image", help="Take a raster as a plain image: no CRS or reflectance needed.")
]

Sensor = Annotated[
    str | None,
    _option(
        _SOURCE,
        "--sensor",
        metavar="NAME|FILE.yaml",
        help="Instrument of a raster or Item: names bands and decides reflectance and blur where the source does not.",
    ),
]

Acquired = Annotated[
    str | None,
    _option(
        _SOURCE,
        "--acquired",
        metavar="DATE|TIME",
        help="When a raster was acquired, as 2023-08-15 or 2023-08-15T10:00:31Z; by default as it says itself.",
    ),
]

Model = Annotated[
    str | None, _option(_HOW, "--model", help="A model of `geosr models`, or a card file.", show_default="rgbn-x4")
]
Sharpness = Annotated[
    float,
    _option(
        _HOW,
        "--sharpness",
        min=0,
        max=1,
        help="Mix in the model's visual weights, for a product that looks sharper; above 0 it is not for measuring, "
        "and above 0.5 not advised.",
    ),
]
Engine = Annotated[
    str | None,
    _option(
        _HOW,
        "--engine",
        metavar="auto|torch|openvino|winograd",
        help="What runs the network.",
        show_default="auto, by the machine",
    ),
]
Device = Annotated[
    str | None, _option(_HOW, "--device", metavar="auto|cpu|cuda", help="Where the network runs.", show_default="auto")
]
Precision = Annotated[
    str | None,
    _option(
        _HOW,
        "--precision",
        metavar="auto|float32|bfloat16|float16",
        help="Type of the network's numbers.",
        show_default="auto, the most exact of those in which the hardware is fastest",
    ),
]
Compile = Annotated[
    bool, _option(_HOW, "--compile", help="Let PyTorch compile the network first: slower to begin, faster on GPUs.")
]
Core = Annotated[
    int | None,
    _option(_HOW, "--core", min=1, max=4096, help="Side of a chunk, source pixels.", show_default="by the memory"),
]
Workers = Annotated[
    int | None,
    _option(
        _HOW, "--workers", min=0, help="Processes of a local Dask cluster.", show_default="0, threads of this process"
    ),
]
Scheduler = Annotated[
    str | None,
    _option(_HOW, "--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers compute, as tcp://host:8786."),
]

Compression = Annotated[
    str | None, _option(_OUT, "--compress", metavar="zstd|deflate", help="Compression of the COG.", show_default="zstd")
]
Uncertainty = Annotated[
    bool,
    _option(
        _OUT,
        "--uncertainty",
        help="Also write OUT_uncertainty.tif, half the width of each pixel's 90 % interval, and OUT_measured.tif, "
        "how much of the local detail is measured.",
    ),
]
DateWeights = Annotated[
    bool, _option(_OUT, "--date-weights", help="Of several dates, also write OUT_weights.tif, the others' weights.")
]
Keep = Annotated[
    str | None,
    _option(
        _OUT,
        "--keep",
        metavar="NAMES",
        help="Bands to write, in this order, as B04,B03,B02; all that the model needs are used.",
        show_default="all",
    ),
]
Preview = Annotated[
    str | None,
    _option(
        _OUT, "--preview", metavar="OUT.png", help="Also write a picture of at most 1024 pixels, the Item's thumbnail."
    ),
]
Rgb8 = Annotated[
    str | None,
    _option(
        _OUT,
        "--rgb8",
        metavar="RGB.tif",
        help="Also write red, green and blue in 8 bits, as a COG that any viewer shows; its tag says the stretch.",
    ),
]
Style = Annotated[
    bool, _option(_OUT, "--style", help="Also write OUT.qml, by which QGIS shows true colours, and those of layers.")
]
Overwrite = Annotated[bool, _option(_OUT, "--overwrite", help="Replace an existing output.")]
Restart = Annotated[bool, _option(_OUT, "--restart", help="Forget an unfinished run with other settings.")]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and progress as JSON lines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with errors.")]
