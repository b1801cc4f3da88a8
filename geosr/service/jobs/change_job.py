"""The job of the process ``change``: both scenes upscaled, the map of change, its table and its preview."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import Resampling

import tiling
from catalog import SceneRequest, read_sensor
from catalog.strict_json import to_json
from geosr.change.detect import detect_change
from geosr.change.indices import INDICES
from geosr.change.request import ChangeRequest
from geosr.change.result import ChangeResult
from geosr.change.situation_map import COLOURS
from geosr.engine import EngineChoice
from geosr.maps.outputs import style_path
from geosr.maps.raster import MapRaster, read_shown
from geosr.maps.stretch import Stretch
from geosr.progress import Reporter
from geosr.run.request import Cluster
from geosr.service.jobs.change_inputs import ChangeInputs
from geosr.service.jobs.processes import CHANGE, PROCESSES
from geosr.service.jobs.spec import JobSpec
from geosr.settings import settings

_PREVIEW_PX = 512

_PROCESS = PROCESSES[CHANGE]
_FILES = {name: output.file for name, output in _PROCESS.outputs.items()}

_HEADINGS = ("change", "pixel_m", "hectares", "hectares_low", "hectares_high", "areas")


def run_change(spec: JobSpec, folder: Path, reporter: Reporter) -> None:
    """Make all files of a job of change; the products of both scenes that are there already are taken over.

    Raises what :func:`geosr.change.detect.detect_change` raises.
    """
    inputs = ChangeInputs.model_validate(spec.inputs)
    _clear(folder)
    defaults = settings()
    before, after = (
        SceneRequest(
            one.source,
            area=inputs.area,
            nodata=one.nodata,
            mask_clouds=inputs.mask_clouds,
            sensor=None if one.sensor is None else read_sensor(one.sensor),
        )
        for one in spec.dates
    )
    request = ChangeRequest(
        before,
        after,
        folder / _FILES["map"],
        inputs.index,
        inputs.model,
        inputs.least,
        inputs.least_hectares,
        polygons=folder / _FILES["polygons"],
        reports=(folder / _FILES["report"], folder / _FILES["report_pdf"]),
        style=True,
        names=(spec.dates[0].title, spec.dates[1].title),
        # As for the command on this machine.
        engine=EngineChoice(defaults.engine, defaults.device, defaults.precision),
        cluster=Cluster(spec.workers, spec.scheduler),
        core_px=defaults.core_px,
        max_pixels=spec.max_pixels,
    )
    result = detect_change(request, reporter)
    # The places of files on this machine are nobody else's business.
    named = replace(result, files={name: Path(path).name for name, path in result.files.items()})
    tiling.write(folder / _FILES["summary"], [(to_json(named.as_json(), indent=2) + "\n").encode()])
    tiling.write(folder / _FILES["table"], [_table(result).encode()])
    tiling.write(folder / _PROCESS.preview, [_preview(folder)])


def _clear(folder: Path) -> None:
    """Remove what an earlier attempt has left, but for the products of both scenes and their unfinished chunks."""
    for name, file in _FILES.items():
        if name not in ("before", "after"):
            (folder / file).unlink(missing_ok=True)
    for name in ("map", "difference"):
        style_path(folder / _FILES[name]).unlink(missing_ok=True)
    for left in folder.glob(f".{_PROCESS.stem}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _table(result: ChangeResult) -> str:
    index, rows = INDICES[result.index], []
    for meaning, which in ((index.less, "less"), (index.more, "more")):
        for grid in (result.fine, result.source):
            total = getattr(grid, which)
            rows.append((meaning, grid.pixel_m, total.hectares, total.low_hectares, total.high_hectares, total.areas))
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_HEADINGS, *rows])
    return buffer.getvalue()


def _preview(folder: Path) -> bytes:
    """The later scene in grey with the change in its colours, as a PNG."""
    raster = MapRaster.of(str(folder / _FILES["after"]))
    shown = read_shown(raster.path, raster.shown(None), _PREVIEW_PX)
    grey = Stretch.measured(shown)(shown).mean(axis=0)
    colours = np.repeat(120 + 0.5 * grey[..., None], 3, axis=2).astype(np.uint8)
    with rasterio.open(folder / _FILES["map"]) as classes:
        found = classes.read(1, out_shape=grey.shape, resampling=Resampling.mode)
    for kind, colour in enumerate(COLOURS, 1):
        colours[found == kind] = colour
    alpha = np.where(shown.valid, 255, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([colours, alpha])).save(buffer, "PNG")
    return buffer.getvalue()
