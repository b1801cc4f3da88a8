"""What ``geosr info`` tells of a source, and of the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import catalog
from catalog import SceneRequest
from geosr.version import VERSION

_LIBRARIES = ("torch", "numpy", "rasterio", "xarray", "dask", "odc-geo", "odc-stac", "pystac-client")

#: Instructions that decide how fast a network runs on a CPU.
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def source(request: SceneRequest) -> dict[str, Any]:
    """Bands, grid, radiometry and remarks of a source."""
    scene = catalog.open_scene(request)
    geobox = scene.geobox
    crs = geobox.crs
    bands = [
        f"{band.name}: reflectance = DN * {band.scale:g} + {band.offset:g} ({reason}), nodata {_nodata(band.nodata)}"
        for band, reason in zip(scene.bands, scene.radiometry, strict=True)
    ]
    return {
        "source": scene.id,
        "kind": "picture" if scene.picture else "reflectance",
        "time": scene.datetime.isoformat() if scene.datetime else "not known",
        "size": f"{geobox.shape.x}×{geobox.shape.y} pixels of {scene.dtype}",
        "crs": "none" if crs is None else f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt(),
        "pixel": f"{abs(geobox.resolution.x):g} × {abs(geobox.resolution.y):g}",
        "bounds": ", ".join(f"{value:.10g}" for value in geobox.boundingbox.bbox),
        "bands": bands,
        "notes": list(scene.notes) or ["none"],
    }


def system() -> dict[str, Any]:
    """Versions, processor and accelerators."""
    import rasterio
    import torch

    flags = [flag for flag in _CPU_FLAGS if flag in _cpu_flags()]
    return {
        "geosr": VERSION,
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        "gdal": rasterio.__gdal_version__,
        "processor": f"{os.cpu_count()} cores, {', '.join(flags) or 'instructions unknown'}",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return set()
    lines = path.read_text(encoding="utf-8").splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _nodata(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
