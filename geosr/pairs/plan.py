"""Parts of a build: blocks of LR grids, one for each patch that there may be, and the identity of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geosr.pairs.config import PairsConfig
from geosr.pairs.sources import Match
from geosr.version import VERSION

#: Share of a block that the HR scene's outline has to cover for it to be looked at.
_COVERED = 0.5

#: Vertices of an outline per side: in another projection its edges bend.
_VERTICES = 20


@dataclass(frozen=True)
class Block:
    """One patch's place."""

    match: int
    row_off: int
    """First row on the LR grid."""
    col_off: int
    side: int
    """LR pixels."""

    @property
    def key(self) -> str:
        return f"{self.match:03d}-{self.row_off:05d}-{self.col_off:05d}"

    @property
    def window(self) -> Window:
        return Window(self.col_off, self.row_off, self.side, self.side)

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column, LR pixels from the grid's corner."""
        return self.row_off + self.side / 2, self.col_off + self.side / 2

    def padded(self, margin: int) -> Window:
        """The block with so many pixels around it; it may reach beyond the grid."""
        side = self.side + 2 * margin
        return Window(self.col_off - margin, self.row_off - margin, side, side)


def blocks_of(matches: Sequence[Match], side: int) -> list[Block]:
    """Every block of LR grids that HR may cover, match by match, row by row."""
    return [block for number, match in enumerate(matches) for block in _blocks(number, match, side)]


def identity_of(config: PairsConfig, matches: Sequence[Match]) -> str:
    """SHA-256 of everything that decides the set's bytes: configuration, sources, version."""
    content = {
        "version": VERSION,
        "config": config.model_dump(mode="json"),
        "matches": [[dict(view.scene.identity) for view in (match.lr, match.hr)] for match in matches],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _blocks(number: int, match: Match, side: int) -> Iterator[Block]:
    area, outline = match.lr.scene.area, _outline(match.hr.scene.geobox, match.lr.scene.geobox)
    for row in range(area.row_off, area.row_off + area.height - side + 1, side):
        for col in range(area.col_off, area.col_off + area.width - side + 1, side):
            square = shapely.box(col, row, col + side, row + side)
            if outline.intersection(square).area >= _COVERED * side * side:
                yield Block(number, row, col, side)


def _outline(geobox: GeoBox, grid: GeoBox) -> shapely.Geometry:
    """The outline of a grid in another's pixels (column, row)."""
    projected = geobox.extent.segmented(geobox.extent.length / (4 * _VERTICES))
    if geobox.crs != grid.crs and grid.crs is not None:
        projected = projected.to_crs(grid.crs)
    to_pixels = ~grid.affine

    def pixels(places: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(to_pixels @ (places[:, 0], places[:, 1]), axis=1)

    return shapely.transform(projected.geom, pixels)
