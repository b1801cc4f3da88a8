"""The commands ``geosr preview`` and ``geosr style``."""

from __future__ import annotations

from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_pairs

Raster = Annotated[str, typer.Argument(metavar="RASTER", help="Raster, by path or URL.")]


def preview(
    raster: Raster,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT.png", help="PNG to write.")],
    bands: Annotated[
        str | None,
        typer.Option("--bands", metavar="R,G,B", help="Bands shown, or one in grey.", show_default="true colours"),
    ] = None,
    index: Annotated[
        str | None, typer.Option("--index", metavar="ndvi|ndwi|ndre|nbr|ndbi", help="Show an index in colours.")
    ] = None,
    stretch: Annotated[
        str | None,
        typer.Option("--stretch", metavar="LOW,HIGH", help="DN shown.", show_default="1st to 99th percentile"),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=16, max=8192, help="Longest side, pixels.")] = 1024,
    overwrite: opt.Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Draw a raster as a picture, clear where nothing was measured."""
    with errors(debug):
        import tiling
        from geosr.errors import ExistsError
        from geosr.maps.preview import preview_png
        from geosr.maps.raster import MapRaster
        from geosr.maps.stretch import Stretch

        if index is not None and (bands is not None or stretch is not None):
            raise usage("--index has bands and colours of its own: leave --bands and --stretch out")
        place = tiling.locate(output)
        if place.suffix.lower() != ".png":
            raise usage(f"the output {output} has to be a PNG: name it .png")
        if place.exists() and not overwrite:
            raise ExistsError(f"{output} exists: --overwrite replaces it")
        limits = None if stretch is None else Stretch.parse(stretch)
        image = preview_png(MapRaster.of(raster), bands=bands, index=index, stretch=limits, longest_px=size)
        tiling.write(place, [image])
        print_pairs({"preview": output}, as_json=as_json)


def style(
    raster: Raster,
    kind: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="STYLE",
            help="true-colour, false-colour, ndvi, ndwi, ndre, nbr, ndbi, uncertainty, measured or change.",
        ),
    ] = "true-colour",
    overwrite: opt.Overwrite = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Write a style beside a raster, RASTER.qml, in which QGIS shows it.

    ndvi and the other indices, uncertainty, measured and change are colours of a raster of these values.
    """
    with errors(debug):
        import tiling
        from geosr.errors import ExistsError
        from geosr.maps.outputs import style_path
        from geosr.maps.qml import style_of
        from geosr.maps.raster import MapRaster

        place = style_path(tiling.locate(raster))
        if place.exists() and not overwrite:
            raise ExistsError(f"{place} exists: --overwrite replaces it")
        tiling.write(place, [style_of(MapRaster.of(raster), kind).encode()])
        print_pairs({"style": str(place)}, as_json=as_json)
