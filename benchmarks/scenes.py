"""Scenes of any size: the bundled sample, repeated; 4 bands of uint16."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

SAMPLE = Path(__file__).parent.parent / "geosr" / "data" / "sample.tif"


def write_scene(path: Path, side: int) -> None:
    """A square scene, written strip by strip."""
    with rasterio.open(SAMPLE) as sample:
        pixels, profile = sample.read(), sample.profile
        profile.update(
            width=side, height=side, compress="zstd", zstd_level=1, tiled=True, blockxsize=512, blockysize=512
        )
        with rasterio.open(path, "w", **profile) as raster:
            raster.descriptions = sample.descriptions
            raster.scales = sample.scales
            repeats = math.ceil(side / pixels.shape[2])
            strip = np.tile(pixels, (1, 1, repeats))[:, :, :side]
            for top in range(0, side, strip.shape[1]):
                height = min(strip.shape[1], side - top)
                raster.write(strip[:, :height], window=Window(0, top, side, height))
