"""The command ``geosr verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors, fail
from geosr.cli.output import print_json

#: Damaged parts that are named of each file; the others are counted.
_NAMED = 5


def verify(
    outputs: Annotated[
        list[str], typer.Argument(metavar="OUT.tif…", help="Products of `geosr upscale`, as paths or s3:// addresses.")
    ],
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Hold products, and their uncertainty layers, against the checksums stored in them.

    Every byte is checked. Exit code 1 says that a file is damaged, or was changed since it was written.
    """
    with errors(debug):
        import tiling
        from geosr.run.publishing import layers_beside

        damage: dict[str, list[str]] = {}
        for output in map(tiling.locate, outputs):
            for path in (output, *layers_beside(output)):
                damage[str(path)] = list(tiling.find_damage(path))
        if as_json:
            print_json([{"path": name, "whole": not found, "damage": found} for name, found in damage.items()])
        for name, found in damage.items():
            if found and _is_foreign(name):
                fail(f"{name} is not a product of geosr: it stores no checksums to hold it against", 1)
            elif found:
                more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
                fail(f"{name} is not what was written: {'; '.join(found[:_NAMED])}{more}", 1)
            elif not as_json:
                typer.echo(f"{name}: whole")
        if any(damage.values()):
            raise typer.Exit(1)


def _is_foreign(path: str) -> bool:
    """Tell whether a file is a raster that was not written by geosr."""
    import tiling
    from catalog.errors import CatalogError
    from catalog.gdal import open_raster

    try:
        with open_raster(tiling.gdal_path(tiling.locate(path))) as raster:
            return "GEOSR_MANIFEST" not in raster.tags()
    except CatalogError:
        return False
