"""Images taken as the truth, and what Sentinel-2 would record of them.

The standard sets are imagery that no model was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.gdal import open_raster
from catalog.sentinel2 import BANDS, band_name
from geosr.configuration import find_files
from geosr.errors import UsageError
from geosr.model.sensor import Sensor

#: Standard deviation of the noise added to what the sensor observes, reflectance.
NOISE = 0.001

#: Of the noise, so that every run and every contender sees the same.
SEED = 0

#: Sides of the smallest and of the largest image, HR pixels: figures leave a margin of 16 out, and whole images are
#: computed at once.
_SIDES_PX = (64, 4096)


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind, each to be taken as the truth."""

    name: str
    glob: str
    """Files, relative to the data folder; bands are found by their descriptions."""
    full_scale: float
    """DN that stands for reflectance 1."""
    reduce: int = 1
    """Side of the blocks of delivered pixels that are averaged."""


#: Claremont is a city left out of NAIP, qb_c a scene left out of QuickBird, austria_b a date left out of Sentinel-2.
SETS = (
    ImageSet("claremont 0.6 m", "hr/naip_california/claremont_*.tif", 255),
    ImageSet("claremont 2.4 m", "hr/naip_california/claremont_*.tif", 255, reduce=4),
    ImageSet("qb_c 2.4 m", "hr/quickbird_toulouse/qb_c.tif", 800),
    ImageSet("austria_b 10 m", "s2/austria_b.tif", 10000),
)


def find_images(which: ImageSet, data: Path) -> list[Path]:
    """Files of a set, in the order of their names. Raises :class:`UsageError` when there are none."""
    if not data.is_dir():
        raise UsageError(f"{data} is not a folder: name one that holds high-resolution rasters")
    paths = [path for path in find_files(data, which.glob, UsageError) if path.is_file()]
    if not paths:
        raise UsageError(f"no imagery matches {which.glob} in {data}")
    return paths


def bands_of(path: Path) -> list[str]:
    """Sentinel-2's bands that a raster holds, by their descriptions, in Sentinel-2's order."""
    with open_raster(str(path)) as raster:
        held = {band_name(text or "") for text in raster.descriptions}
    return [name for name in BANDS if name in held]


def read_images(which: ImageSet, data: Path, bands: Sequence[str], scale: int = 4) -> list[Tensor]:
    """Reflectance ``(bands, rows, cols)`` of each image of a set, its sides multiples of ``scale``.

    Raises :class:`UsageError` when the set, a band or a pixel is missing, or an image too small or too large.
    """
    return [_read(path, which, bands, scale) for path in find_images(which, data)]


def observe(truths: Sequence[Tensor], sensor: Sensor) -> list[Tensor]:
    """Each image as the sensor records it, with noise that is the same at every call."""
    rng = torch.Generator().manual_seed(SEED)
    observed = []
    for truth in truths:
        lr = sensor.observe(truth[None])[0]
        observed.append(lr + NOISE * torch.randn(lr.shape, generator=rng))
    return observed


def _read(path: Path, which: ImageSet, bands: Sequence[str], scale: int) -> Tensor:
    with open_raster(str(path)) as raster:
        names = [band_name(text or "") for text in raster.descriptions]
        missing = [band for band in bands if band not in names]
        if missing:
            described = ", ".join(text or "unnamed" for text in raster.descriptions)
            raise UsageError(f"{path} has no {', '.join(missing)}: its bands are described as {described}")
        smallest, largest = _SIDES_PX
        sides = (raster.height // which.reduce, raster.width // which.reduce)
        if min(sides) < smallest or max(sides) > largest:
            raise UsageError(
                f"{path} has {sides[0]} × {sides[1]} pixels"
                f"{f' after averaging blocks of {which.reduce}' if which.reduce > 1 else ''}: "
                f"sides are {smallest} to {largest}"
            )
        if not raster.dataset_mask().all():
            raise UsageError(f"{path} has pixels without data: cut out a part that has none")
        pixels = raster.read([names.index(band) + 1 for band in bands]).astype(np.float32)
    image = F.avg_pool2d(torch.from_numpy(pixels)[None] / which.full_scale, which.reduce)[0]
    if not image.isfinite().all():
        raise UsageError(f"{path} has pixels that are not finite numbers: cut out a part that has none")
    return image[:, : image.shape[1] // scale * scale, : image.shape[2] // scale * scale].contiguous()
