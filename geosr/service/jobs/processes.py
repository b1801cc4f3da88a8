"""Processes of the service: their titles, and the files that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOJSON = "application/geo+json"

UPSCALE, CHANGE = "upscale", "change"


class ProcessOutput(NamedTuple):
    """An output of a process."""

    title: str
    media: str
    """Media type."""
    file: str
    """Name of its file, in the job's folder and for clients."""
    bundled: bool = True
    """False for one that the archive of all results leaves out."""


@dataclass(frozen=True)
class Process:
    """A process."""

    id: str
    title: str
    description: str
    outputs: Mapping[str, ProcessOutput]
    """Outputs by their names; the first is the map or product itself."""
    needs: tuple[str, ...] = ()
    """Modules of an extra that it cannot do without."""

    @property
    def main(self) -> str:
        """Name of the output without which there is no result."""
        return next(iter(self.outputs))

    @property
    def stem(self) -> str:
        """Beginning of the names of files that go with all of a result."""
        return Path(self.outputs[self.main].file).stem

    @property
    def bundle(self) -> str:
        """Name of the archive of a result."""
        return f"{self.stem}.zip"

    @property
    def preview(self) -> str:
        """Name of the picture of a result."""
        return f"{self.stem}_preview.png"

    @property
    def rasters(self) -> tuple[str, ...]:
        """Names of the outputs that maps show."""
        return tuple(name for name, output in self.outputs.items() if output.media == COG)

    @property
    def offered(self) -> bool:
        """True when all that it needs is installed."""
        return all(find_spec(module) is not None for module in self.needs)


_UPSCALE = Process(
    UPSCALE,
    "Upscale a scene four times",
    "Super-resolution of multispectral scenes: four times finer, lined up to the pixel, reflectance kept; detail finer "
    "than the source's resolution is estimated.",
    {
        "product": ProcessOutput("The super-resolved scene, a Cloud-Optimized GeoTIFF", COG, "product.tif"),
        "uncertainty": ProcessOutput(
            "Half-widths of its pixels' intervals; when uncertainty is asked for", COG, "product_uncertainty.tif"
        ),
        "measured": ProcessOutput(
            "Measured share of the local detail; when uncertainty is asked for", COG, "product_measured.tif"
        ),
        "item": ProcessOutput("Its STAC Item", GEOJSON, "product.json"),
    },
)

_CHANGE = Process(
    CHANGE,
    "Map what changed between two scenes",
    "Change of an index between two scenes of one place that exceeds the errors of both, with its areas, hectares and "
    "a situation map. Both scenes are upscaled for it.",
    {
        "map": ProcessOutput("Classes: 0 unchanged, 1 decrease, 2 increase, 255 no data", COG, "change.tif"),
        "difference": ProcessOutput(
            "Index after minus before without detail below the errors of both dates, the half-width of unchanged "
            "ground, and the difference as measured",
            COG,
            "change_difference.tif",
        ),
        "polygons": ProcessOutput("Changed areas with their hectares, in degrees", GEOJSON, "change.geojson"),
        "table": ProcessOutput("Hectares of each kind of change, on both grids", "text/csv", "change.csv"),
        "summary": ProcessOutput(
            "Hectares, shift between the dates, and notes", "application/json", "change_change.json"
        ),
        "report": ProcessOutput("The situation map, for browsers", "text/html", "change.html"),
        "report_pdf": ProcessOutput("The situation map, to print", "application/pdf", "change.pdf"),
        "item": ProcessOutput("Its STAC Item", GEOJSON, "change.json"),
        "before": ProcessOutput("The earlier scene, super-resolved", COG, "change_before.tif", bundled=False),
        "after": ProcessOutput("The later scene, super-resolved", COG, "change_after.tif", bundled=False),
    },
    needs=("skimage", "matplotlib"),
)

PROCESSES = {one.id: one for one in (_UPSCALE, _CHANGE)}
