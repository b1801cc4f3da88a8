"""Request for a map of change, and the paths that it is written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalog import Scene, SceneRequest
from geosr.change.districts import DistrictsFile
from geosr.change.polygons import format_of
from geosr.change.situation_map import map_format
from geosr.engine import EngineChoice
from geosr.errors import ExistsError, UsageError
from geosr.maps.outputs import MapOutputs, style_path
from geosr.run.item_file import ItemFile
from geosr.run.request import Cluster


@dataclass(frozen=True)
class ChangeRequest:
    """Two dates, what to compare, and where to write."""

    before: SceneRequest
    after: SceneRequest
    output: Path
    """The map: classes. Differences go to ``OUT_difference.tif``, the dates' products to ``OUT_before.tif`` and
    ``OUT_after.tif``."""
    index: str = "ndwi"
    """A name of :data:`geosr.change.indices.INDICES`."""
    model: str | None = None
    """None for the index's own."""
    least: float = 0.1
    """Smallest difference of the index that counts as change."""
    least_hectares: float = 0.1
    """Smallest area."""
    polygons: Path | None = None
    reports: tuple[Path, ...] = ()
    """Situation maps, ``.html`` or ``.pdf``."""
    districts: DistrictsFile | None = None
    """Polygons to sum up change in; the table goes to ``OUT_districts.csv``."""
    style: bool = False
    """Write QGIS styles beside the map, the differences and both products."""
    overwrite: bool = False
    names: tuple[str, str] | None = None
    """Names of the dates in the result and its map; None for the scenes' own."""
    engine: EngineChoice = field(default_factory=EngineChoice)
    cluster: Cluster = field(default_factory=Cluster)
    core_px: int | None = None
    """Side of a chunk, source pixels; None to choose."""
    max_pixels: int | None = None
    """Most source pixels of a date, of one band; None for any number."""


def targets_of(request: ChangeRequest) -> dict[str, Path]:
    """Paths of all that is written, checked before anything is computed.

    Raises :class:`geosr.errors.GeosrError`.
    """
    output = request.output
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"the output {output} is a GeoTIFF: give it the ending .tif")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist")
    targets = {
        "map": output,
        "difference": output.with_name(f"{output.stem}_difference{output.suffix}"),
        "summary": output.with_name(f"{output.stem}_change.json"),
    }
    if request.style:
        targets |= {f"{name}_style": Path(str(style_path(targets[name]))) for name in ("map", "difference")}
        for name in ("before", "after"):
            MapOutputs(style=True).check(product_path(request, name), overwrite=request.overwrite)
    if request.districts is not None:
        targets["districts"] = output.with_name(f"{output.stem}_districts.csv")
    if request.polygons is not None:
        format_of(request.polygons)
        targets["polygons"] = request.polygons
    for key, report in reports_of(request).items():
        map_format(report)
        targets[key] = report
    item = ItemFile.of(output, overwrite=request.overwrite).path
    if request.polygons is not None and item.absolute() == request.polygons.absolute():
        item = output.with_name(f"{output.name}.json")
    targets["item"] = Path(str(item))
    if len({path.absolute() for path in targets.values()}) < len(targets):
        raise UsageError("two outputs have one name: give each its own")
    if not request.overwrite:
        for path in targets.values():
            if path.exists():
                raise ExistsError(f"{path} exists: --overwrite replaces it")
    return targets


def reports_of(request: ChangeRequest) -> dict[str, Path]:
    """Situation maps by their keys in the result."""
    return {"report" if number == 1 else f"report_{number}": path for number, path in enumerate(request.reports, 1)}


def names_of(request: ChangeRequest, scenes: Sequence[Scene]) -> tuple[str, str]:
    """Names of both dates: those of the request, or the scenes' own."""
    return request.names or (scenes[0].id, scenes[1].id)


def product_path(request: ChangeRequest, name: str) -> Path:
    """Path of the product of ``before`` or ``after``."""
    return request.output.with_name(f"{request.output.stem}_{name}.tif")
