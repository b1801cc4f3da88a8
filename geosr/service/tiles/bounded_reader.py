"""A reader of finished products that gives no tiles from far away, where one costs minutes."""

from __future__ import annotations

from typing import Any

from geosr.service.tiles.titiler_import import Reader, TileOutsideBounds

#: Pixels that the longer side of a raster takes at least on the tiles of a zoom. A raster without overviews is warped
#: at its own resolution over all of a tile: four times as much time and memory for each zoom further out.
_FEWEST_PX = 32

#: Zooms below a raster's own at which nothing of it could be seen, however large it is.
_MOST_LEVELS = 24


class BoundedReader(Reader):
    """rio-tiler's reader, for tiles on which the raster can be seen."""

    def tile(self, tile_x: int, tile_y: int, tile_z: int, *arguments: Any, **options: Any) -> Any:
        """Read a tile. Raises :class:`TileOutsideBounds` also where the raster would be a few pixels on it."""
        dataset: Any = self.dataset
        # The zoom is a client's number: powers of it are not computed.
        levels = max(0, self.maxzoom - tile_z)
        if levels > _MOST_LEVELS or max(dataset.shape) < _FEWEST_PX * 2**levels:
            raise TileOutsideBounds("the result is too small to be seen at this zoom")
        return super().tile(tile_x, tile_y, tile_z, *arguments, **options)
