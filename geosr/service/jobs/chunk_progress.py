"""Finished parts of a running job, read from its ledger: true also after a restart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rasterio.windows import Window

from geosr.run.checkpoint import work_folder
from geosr.service.geography import outline_of
from geosr.service.jobs.record import SUCCESSFUL, Job
from tiling import ChunkPlan

_CHUNK = re.compile(r"r\d{4,}c\d{4,}")


def finished_parts(job: Job) -> dict[str, Any]:
    """Footprints of a job's chunks in degrees, each ``finished`` or not; empty where nothing is known yet."""
    # Of two scenes that are compared, one is computed at a time.
    folders = [work_folder(job.folder / output.file) for output in job.process.outputs.values()]
    folder = next((one for one in folders if isinstance(one, Path) and one.is_dir()), None)
    plan = None if job.status == SUCCESSFUL or folder is None else _plan(folder)
    if plan is None or folder is None:
        return {"type": "FeatureCollection", "features": []}
    there = {path.stem for path in folder.glob("r*c*.tif") if _CHUNK.fullmatch(path.stem)}
    features = [
        {
            "type": "Feature",
            "geometry": outline_of(plan.geobox[chunk.out.toslices()]),
            "properties": {"key": chunk.key, "finished": chunk.key in there},
        }
        for chunk in plan
    ]
    return {"type": "FeatureCollection", "features": features}


def _plan(folder: Path) -> ChunkPlan | None:
    try:
        content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        grid, chunks = content["grid"], content["chunks"]
        extent = GeoBox(grid["shape"], Affine(*grid["transform"]), grid["crs"])
        return ChunkPlan(extent, Window(*grid["area"]), chunks["scale"], chunks["core_px"], chunks["halo_px"])
    except (OSError, ValueError, LookupError):
        return None
