"""Clouds, shadows and saturated pixels as nodata, from Sentinel-2's scene classification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from catalog.gdal import parts_of
from catalog.identity import look_up
from catalog.sampling import BandSample
from catalog.scene import PixelReader, Pixels, Scene
from catalog.sentinel2 import UNUSABLE_SCL

#: The mask grows by this many pixels of the 10 m grid: three standard deviations of the widest band's blur, and the
#: half pixel by which a classification on 20 m may be off.
GROWTH_PX = 3


NOTE = "clouds, cloud shadows and saturated pixels of the scene classification are nodata"


class ClassReader(Protocol):
    """Reads the scene classification on the scene's grid."""

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        """Classes ``(rows, cols)`` in a window inside the grid."""


@dataclass(frozen=True)
class CloudMasked:
    """Another reader's pixels, with those under clouds taken out."""

    reader: PixelReader
    classes: ClassReader
    shape: tuple[int, int]
    """Rows and columns of the grid."""

    def read(self, window: Window) -> Pixels:
        pixels, valid = self.reader.read(window)
        return pixels, valid & ~unusable(self.classes, window, self.shape)

    def sample(self, window: Window) -> list[BandSample]:
        # Clouds are plausible.
        return self.reader.sample(window)

    def select(self, keep: tuple[int, ...]) -> CloudMasked:
        return replace(self, reader=self.reader.select(keep))


def unusable(classes: ClassReader, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of a window, on a grid of ``shape``, whose class hides the ground or lies within the growth of one."""
    rows, cols = shape
    top, left = max(0, window.row_off - GROWTH_PX), max(0, window.col_off - GROWTH_PX)
    bottom = min(rows, window.row_off + window.height + GROWTH_PX)
    right = min(cols, window.col_off + window.width + GROWTH_PX)
    found = np.isin(classes.read_classes(Window(left, top, right - left, bottom - top)), UNUSABLE_SCL)
    from scipy.ndimage import maximum_filter

    grown: NDArray[np.bool_] = maximum_filter(found, 2 * GROWTH_PX + 1, mode="constant")
    y, x = window.row_off - top, window.col_off - left
    return grown[y : y + window.height, x : x + window.width]


def mask_clouds(scene: Scene, classes: ClassReader, path: str) -> Scene:
    """The scene with unusable pixels as nodata; ``path`` is that of the raster that holds the classes."""
    rasters = look_up(parts_of(path))
    shape = (scene.geobox.shape.y, scene.geobox.shape.x)
    return replace(
        scene,
        reader=CloudMasked(scene.reader, classes, shape),
        nodata_declared=True,
        identity={**scene.identity, "mask_clouds": rasters[path]},
        rasters={**scene.rasters, **rasters},
        files=(*scene.files, *rasters),
    ).with_warnings(NOTE)
