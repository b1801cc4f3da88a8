"""Two sensors over the same ground, made of the bundled sample: what was done to them is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from geosr.model.kernels import sensor_sigmas
from geosr.model.sensor import Sensor
from tests.conftest import RGBN, write_raster

SCALE = 4
TRANSFERS = (0.26, 0.28, 0.24, 0.26)
LEFT, TOP = 300000.0, 5400000.0

#: LR pixel ``p`` shows what is at ``p + SHIFT`` in the HR.
SHIFT = (0.6, -0.35)
GAIN, OFFSET = 0.8, 0.02


def moved(image: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    """Move an image by ``shift_px``, in the Fourier domain of a mirrored copy."""
    rows, cols = image.shape[1:]
    whole = np.concatenate([image, image[:, ::-1]], axis=1)
    whole = np.concatenate([whole, whole[:, :, ::-1]], axis=2)
    down, across = np.fft.fftfreq(2 * rows)[:, None], np.fft.fftfreq(2 * cols)[None, :]
    ramp = np.exp(2j * np.pi * (shift_px[0] * down + shift_px[1] * across))
    return np.fft.ifft2(np.fft.fft2(whole) * ramp).real[:, :rows, :cols]


def seen(hr: np.ndarray) -> np.ndarray:
    """HR ``(bands, rows, cols)`` as Sentinel-2 sees it."""
    sensor = Sensor(sensor_sigmas(TRANSFERS[: len(hr)], SCALE), SCALE)
    return sensor.observe(torch.from_numpy(hr[None]).float())[0].double().numpy()


def two_sensors(sample: np.ndarray, *, shift: tuple[float, float] = SHIFT) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR reflectance of the sample's ground: ``(4, 75, 75)`` and ``(4, 300, 300)``."""
    hr = sample / 10000.0
    lr = GAIN * seen(moved(hr, (SCALE * shift[0], SCALE * shift[1]))) + OFFSET
    rng = np.random.default_rng(0)
    return lr + 0.001 * rng.standard_normal(lr.shape), hr


def dn(reflectance: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(reflectance, 1e-4, 6) * 10000).astype(np.uint16)


def write_pair(folder: Path, lr: np.ndarray, hr: np.ndarray) -> None:
    """Both as rasters, on the same corner."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image, gsd in (("lr", lr, 10.0), ("hr", hr, 10.0 / SCALE)):
        transform = from_origin(LEFT, TOP, gsd, gsd)
        write_raster(folder / f"{name}.tif", dn(image), transform=transform, nodata=0, scale=1e-4, offset=0.0)


def write_hr_item(folder: Path, name: str, hr: np.ndarray, datetime: str) -> Path:
    """An Item of another collection: one raster with all bands, red first, of which it says no radiometry."""
    gsd = 10.0 / SCALE
    transform = from_origin(LEFT, TOP, gsd, gsd)
    order = [2, 1, 0, 3]
    path = write_raster(folder / f"{name}.tif", dn(hr)[order], names=(), transform=transform, nodata=0)
    footprint = GeoBox(hr.shape[1:], transform, "EPSG:32633").footprint("EPSG:4326")
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
        "id": name,
        "collection": "aerial",
        "geometry": footprint.json,
        "bbox": list(footprint.boundingbox.bbox),
        "properties": {"datetime": datetime, "proj:epsg": 32633},
        "links": [],
        "assets": {
            "image": {
                "href": path.as_uri(),
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "eo:bands": [{"name": colour} for colour in ("Red", "Green", "Blue", "NIR")],
                "proj:shape": list(hr.shape[1:]),
                "proj:transform": list(transform)[:6],
            }
        },
    }
    described = folder / f"{name}.json"
    described.write_text(json.dumps(item))
    return described


def write_config(path: Path, **changes: Any) -> Path:
    """A configuration of small patches, for the rasters of :func:`write_pair` unless told otherwise."""
    content = {
        "name": "tiny",
        "bands": list(RGBN),
        "scale": SCALE,
        "lr": {"sources": ["lr.tif"]},
        "hr": {"sources": ["hr.tif"]},
        "patch_lr_px": 24,
        "max_shift_px": 2,
        "screening": {"min_valid": 0.75},
        "patches_per_shard": 4,
    }
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path
