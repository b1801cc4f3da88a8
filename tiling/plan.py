"""Chunk plan: the pixels that each unit of work reads and writes.

A plan covers an area of a larger grid. The cores of its chunks cover the area without overlap. The plan does not know
how pixels are read or made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from odc.geo import wh_
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from tiling.errors import PlanError
from tiling.overviews import level_shapes
from tiling.product import BLOCK_PX


@dataclass(frozen=True)
class Chunk:
    """One unit of work."""

    key: str
    """Name, unique in the plan and stable between runs: row and column of the chunk, ``r0003c0012``."""
    core: Window
    """The pixels it owns, LR pixels of the source's grid."""
    out: Window
    """The pixels it writes, HR pixels of the output."""


@dataclass(frozen=True)
class ChunkPlan:
    """Chunks of ``core_px`` LR pixels over ``area``, a window of the grid ``extent``.

    Iterating over a plan yields its chunks row by row; ``len`` is their number.
    """

    extent: GeoBox
    """Grid of all pixels that exist; what is read beyond it is reflected."""
    area: Window
    """The part to be upscaled, LR pixels of ``extent``."""
    scale: int
    """HR pixels per LR pixel, along each axis."""
    core_px: int
    """Side of a chunk's core, LR pixels; the last ones of a row or column may be smaller."""
    halo_px: int
    """Real pixels that a chunk needs around its core, LR pixels."""

    def __post_init__(self) -> None:
        if self.core_px < 1 or self.halo_px < 0 or self.scale < 1:
            raise PlanError(f"core {self.core_px}, halo {self.halo_px} and scale {self.scale} do not make a chunk plan")
        inside = (
            0 <= self.area.row_off < self.area.row_off + self.area.height <= self.extent.shape.y
            and 0 <= self.area.col_off < self.area.col_off + self.area.width <= self.extent.shape.x
        )
        if not inside:
            raise PlanError(f"the area {self.area} is not inside a grid of {self.extent.shape.wh} pixels")

    @property
    def geobox(self) -> GeoBox:
        """Grid of the output: the area's bounds, ``scale`` times finer."""
        return refine(crop(self.extent, self.area), self.scale)

    @property
    def rows(self) -> int:
        """Number of chunks from top to bottom."""
        count: int = math.ceil(self.area.height / self.core_px)
        return count

    @property
    def cols(self) -> int:
        """Number of chunks from left to right."""
        count: int = math.ceil(self.area.width / self.core_px)
        return count

    @property
    def aligned(self) -> bool:
        """True if each block of the output lies in one chunk, so that chunks can encode blocks."""
        return len(self) == 1 or self.core_px * self.scale % BLOCK_PX == 0

    @property
    def own_overviews(self) -> int:
        """Number of overviews of the output whose blocks each chunk can encode."""
        most = len(level_shapes(self.geobox.shape)) - 1
        if len(self) == 1:
            return most
        side, count = self.core_px * self.scale, 0
        while count < most and side % (2 * BLOCK_PX) == 0:
            side, count = side // 2, count + 1
        return count

    @property
    def kept_overviews(self) -> int:
        """Number of overviews that each chunk stores its part of.

        It may be one more than :attr:`own_overviews`, in blocks of the chunk's own, so that assembly does not decode
        those below.
        """
        own, most = self.own_overviews, len(level_shapes(self.geobox.shape)) - 1
        halved = self.core_px * self.scale // 2**own
        return own + 1 if self.aligned and own < most and halved % 2 == 0 else own

    def __len__(self) -> int:
        return self.rows * self.cols

    def __iter__(self) -> Iterator[Chunk]:
        for row in range(self.rows):
            for col in range(self.cols):
                yield self._chunk(row, col)

    def _chunk(self, row: int, col: int) -> Chunk:
        top, left = row * self.core_px, col * self.core_px
        height = min(self.core_px, self.area.height - top)
        width = min(self.core_px, self.area.width - left)
        scale = self.scale
        return Chunk(
            key=f"r{row:04d}c{col:04d}",
            core=Window(self.area.col_off + left, self.area.row_off + top, width, height),
            out=Window(left * scale, top * scale, width * scale, height * scale),
        )


def whole(geobox: GeoBox) -> Window:
    """Return the window that covers a grid.

    Parameters
    ----------
    geobox
        Grid.

    Returns
    -------
    Window
        Window from row and column 0.

    """
    return Window(0, 0, geobox.shape.x, geobox.shape.y)


def crop(geobox: GeoBox, window: Window) -> GeoBox:
    """Return the part of a grid inside a window.

    Parameters
    ----------
    geobox
        Grid.
    window
        Window inside the grid, pixels.

    Returns
    -------
    GeoBox
        Grid of the window.

    """
    rows, cols = window.toslices()
    return geobox[rows, cols]


def grow(window: Window, margin_px: int) -> Window:
    """Add a margin on each side of a window.

    Parameters
    ----------
    window
        Window, pixels.
    margin_px
        Width of the margin, pixels.

    Returns
    -------
    Window
        Larger window; it may reach beyond its grid.

    Examples
    --------
    >>> grow(Window(10, 20, 4, 5), 2)
    Window(col_off=8, row_off=18, width=8, height=9)

    """
    return Window(
        window.col_off - margin_px,
        window.row_off - margin_px,
        window.width + 2 * margin_px,
        window.height + 2 * margin_px,
    )


def refine(geobox: GeoBox, scale: int) -> GeoBox:
    """Divide the pixels of a grid.

    Parameters
    ----------
    geobox
        Grid, also a rotated one.
    scale
        Pixels of the result per pixel of ``geobox``, along each axis.

    Returns
    -------
    GeoBox
        Grid with exactly the same bounds.

    Examples
    --------
    >>> coarse = GeoBox.from_bbox((0, 0, 30, 20), crs="EPSG:32633", resolution=10)
    >>> fine = refine(coarse, 4)
    >>> fine.shape.wh, fine.boundingbox == coarse.boundingbox
    ((12, 8), True)

    """
    height, width = geobox.shape
    return geobox.zoom_to(wh_(width * scale, height * scale))
