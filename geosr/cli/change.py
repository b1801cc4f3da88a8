"""The command ``geosr change``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, usage
from geosr.cli.output import print_json
from geosr.cli.scene_request import SearchOptions, SourceOptions, scene_request


def change(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="The earlier scene: raster, .SAFE or STAC Item.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The later scene.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CHANGE.tif", help="Map of classes to write.")],
    index: Annotated[str, typer.Option("--index", metavar="NAME", help="ndwi, ndvi, nbr or ndbi.")] = "ndwi",
    polygons: Annotated[
        Path | None, typer.Option("--polygons", metavar="FILE", help="Also write areas: .gpkg or .geojson.")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", metavar="FILE", help="Also write a situation map: .html or .pdf; again for both."),
    ] = None,
    districts: Annotated[
        Path | None,
        typer.Option("--districts", metavar="FILE", help="Also sum up change in these polygons, to OUT_districts.csv."),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Column that names the districts.", show_default="their numbers"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Layer of the districts' file.", show_default="its only one"),
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Districts to take.", show_default="all")
    ] = None,
    style: Annotated[
        bool,
        typer.Option("--style", help="Also write styles, by which QGIS shows classes, differences and both dates."),
    ] = False,
    least: Annotated[
        float, typer.Option("--least", min=0, max=2, help="Smallest difference of the index that counts.")
    ] = 0.1,
    least_hectares: Annotated[
        float, typer.Option("--least-hectares", min=0, metavar="HA", help="Smallest area that counts.")
    ] = 0.1,
    bbox: opt.Bbox = None,
    aoi: opt.Aoi = None,
    mask_clouds: opt.MaskClouds = False,
    crs: opt.Crs = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    sensor: opt.Sensor = None,
    model: opt.Model = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Map what changed between two dates, with hectares.

    Both dates are upscaled; their products stay beside the output.
    """
    with errors(debug):
        from geosr.change.detect import detect_change
        from geosr.change.districts import DistrictsFile
        from geosr.change.request import ChangeRequest
        from geosr.progress import reporter_for

        if districts is None and (id_column or layer or where):
            raise usage("--id, --layer and --where choose districts, and there are none: name their file, --districts")
        scenes = [
            scene_request(
                SourceOptions(source, None, scale, offset, nodata, False, sensor),
                SearchOptions(bbox, aoi),
                mask_clouds=mask_clouds,
                crs=crs,
            )
            for source in (before, after)
        ]
        request = ChangeRequest(
            before=scenes[0],
            after=scenes[1],
            output=output,
            index=index,
            model=model,
            least=least,
            least_hectares=least_hectares,
            polygons=polygons,
            reports=tuple(report or ()),
            districts=None if districts is None else DistrictsFile(districts, id_column, layer, where),
            style=style,
            overwrite=overwrite,
        )
        result = detect_change(request, reporter_for(as_json=as_json, quiet=quiet))
        if as_json:
            print_json(result.as_json())
            return
        _print(result)


def _print(result: Any) -> None:
    from geosr.change.indices import INDICES

    index = INDICES[result.index]
    for meaning, which in ((index.less, "less"), (index.more, "more")):
        for grid in (result.fine, result.source):
            total = getattr(grid, which)
            typer.echo(
                f"{meaning}, {grid.pixel_m:g} m: {total.hectares:.2f} ha ({total.low_hectares:.2f} to "
                f"{total.high_hectares:.2f}) in {total.areas} areas"
            )
    for row in result.districts:
        typer.echo(
            f"{row.district}, {row.change}: {row.hectares:.2f} ha ({row.hectares_low:.2f} to {row.hectares_high:.2f}) "
            f"of {row.measured_hectares:.2f}; {result.source.pixel_m:g} m: {row.source_hectares:.2f} ha"
        )
    for note in result.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"wrote {', '.join(result.files.values())}")
