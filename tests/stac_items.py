"""STAC Items of local rasters in the form of Earth Search, and a real STAC API that serves them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from tests.conftest import RGBN, write_raster

#: Earth Search's keys of the 10 m and the 20 m bands.
KEYS = dict(zip(RGBN, ("blue", "green", "red", "nir"), strict=True)) | {
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B8A": "nir08",
    "B11": "swir16",
    "B12": "swir22",
}
COLLECTION = "sentinel-2-l2a"


def write_item(
    folder: Path,
    name: str,
    pixels: np.ndarray,
    *,
    coarse: dict[str, np.ndarray] | None = None,
    left: float = 300000,
    top: float = 5400000,
    epsg: int = 32633,
    datetime: str = "2023-08-15T10:00:31Z",
    clouds: float = 3.0,
    scl: np.ndarray | None = None,
    offset_applied: bool | None = True,
    platform: str = "sentinel-2b",
    properties: dict[str, Any] | None = None,
) -> Path:
    """Write one raster per band, and the Item that lists them; returns the Item's path.

    ``pixels`` are the four 10 m bands, ``coarse`` bands of 20 m by name, each ``(rows / 2, cols / 2)``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, cols = pixels.shape[1:]
    transform = from_origin(left, top, 10, 10)
    assets = {}
    for band, image in {**dict(zip(RGBN, pixels, strict=True)), **(coarse or {})}.items():
        gsd = 10 if band in RGBN else 20
        own = from_origin(left, top, gsd, gsd)
        path = write_raster(
            folder / f"{name}_{band}.tif", image[None], names=(), crs=f"EPSG:{epsg}", transform=own, nodata=0
        )
        assets[KEYS[band]] = {
            "href": path.as_uri(),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data", "reflectance"],
            "eo:bands": [{"name": KEYS[band]}],
            "gsd": gsd,
            "proj:shape": list(image.shape),
            "proj:transform": list(own)[:6],
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}],
        }
    if scl is not None:
        classes = from_origin(left, top, 20, 20)
        path = write_raster(
            folder / f"{name}_SCL.tif", scl[None], names=(), crs=f"EPSG:{epsg}", transform=classes, nodata=0
        )
        assets["scl"] = {
            "href": path.as_uri(),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": list(scl.shape),
            "proj:transform": list(classes)[:6],
            "raster:bands": [{"nodata": 0, "data_type": "uint8"}],
        }
    footprint = GeoBox((rows, cols), transform, f"EPSG:{epsg}").footprint("EPSG:4326", buffer=0)
    flag = {} if offset_applied is None else {"earthsearch:boa_offset_applied": offset_applied}
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
        ],
        "id": name,
        "collection": COLLECTION,
        "geometry": footprint.json,
        "bbox": list(footprint.boundingbox.bbox),
        "properties": {
            "datetime": datetime,
            "platform": platform,
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": clouds,
            "proj:epsg": epsg,
            "s2:processing_baseline": "05.09",
            **flag,
            **(properties or {}),
        },
        "links": [],
        "assets": assets,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(item))
    return path


@contextmanager
def serve(folder: Path, *items: Path) -> Iterator[str]:
    """A ``rustac`` process that answers for these Items and their collections; yields the API's address."""
    contents = [json.loads(path.read_text()) for path in items]
    collections = []
    for name in sorted({COLLECTION, *(content["collection"] for content in contents)}):
        collections.append(folder / f"collection-{name}.json")
        collections[-1].write_text(
            json.dumps(
                {
                    "type": "Collection",
                    "stac_version": "1.0.0",
                    "id": name,
                    "description": "Items of the tests",
                    "license": "proprietary",
                    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                    "links": [],
                }
            )
        )
    features = folder / "items-served.json"
    features.write_text(json.dumps({"type": "FeatureCollection", "features": contents}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    rustac = shutil.which("rustac", path=str(Path(sys.executable).parent)) or "rustac"
    with subprocess.Popen(
        [rustac, "serve", "--addr", address, *map(str, collections), str(features)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            _wait(f"http://{address}", process)
            yield f"http://{address}"
        finally:
            process.kill()


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"rustac ended: {process.stderr.read().decode()}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("rustac does not answer")
