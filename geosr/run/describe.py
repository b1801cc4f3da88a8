"""Output of ``geosr info``: descriptions of a source, and of the machine."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import catalog
from catalog import SceneRequest
from geosr.engine import choose_engine
from geosr.engine.chunking import choose_core
from geosr.hardware import CPU_FLAGS, cores, cpu_flags, has_native, has_openvino, memory_bytes
from geosr.model.zoo import ModelRef
from geosr.version import VERSION

_LIBRARIES = ("torch", "numpy", "rasterio", "xarray", "dask", "odc-geo", "pystac-client")


def source(request: SceneRequest) -> dict[str, Any]:
    """Bands, grid, radiometry and remarks of a source."""
    scene = catalog.open_scene(request)
    geobox = scene.geobox
    crs = geobox.crs
    bands = [
        f"{band.name}: {band.conversion} ({reason}), nodata {_nodata(band.nodata)}"
        for band, reason in zip(scene.bands, scene.radiometry, strict=True)
    ]
    return {
        "source": scene.id,
        "kind": "plain image" if scene.plain_image else "reflectance",
        "sensor": scene.sensor or "not told",
        "time": _time(scene),
        "size": f"{geobox.shape.x}×{geobox.shape.y} pixels of {scene.dtype}",
        "crs": "none" if crs is None else f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt(),
        "pixel": f"{abs(geobox.resolution.x):g} × {abs(geobox.resolution.y):g}",
        "bounds": ", ".join(f"{value:.10g}" for value in geobox.boundingbox.bbox),
        "bands": bands,
        "notes": list(scene.notes) or ["none"],
    }


def system() -> dict[str, Any]:
    """Versions, processor and accelerators, and which engine is taken for them."""
    import rasterio
    import torch

    flags = [flag for flag in CPU_FLAGS if flag in cpu_flags()]
    return {
        "geosr": VERSION,
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        "openvino": version("openvino") if has_openvino() else "none: pip install 'geosr[cpu]' for more speed",
        "llvmlite": version("llvmlite") if has_native() else "not used: with geosr's extra [cpu], for Linux on AVX2",
        "gdal": rasterio.__gdal_version__,
        "processor": f"{cores()} cores, {', '.join(flags) or 'instructions unknown'}",
        "memory": f"{memory_bytes() / 2**30:.1f} GiB",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "engine": f"{choose_engine()} (auto; --engine, --device and --precision choose others)",
        "chunks": f"up to {choose_core(ModelRef().card, choose_engine(), 4)} source pixels (auto; --core)",
    }


def _time(scene: catalog.Scene) -> str:
    if scene.datetime is not None:
        return scene.datetime.isoformat()
    return "not known" if scene.period is None else " to ".join(one.isoformat() for one in scene.period)


def _nodata(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
