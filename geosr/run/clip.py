"""The cut of a product to its area: outside of the polygon is nodata, whatever the chunks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Clip:
    """A polygon in the CRS of a product's grid, and the rule for pixels on its outline."""

    wkb: bytes
    """Polygon, as WKB."""
    all_touched: bool = False
    """A pixel is inside if the polygon touches it; False: if its centre is inside."""

    @classmethod
    def of(cls, polygon: BaseGeometry, *, all_touched: bool) -> Clip:
        """Cut to a polygon in the CRS of the grid."""
        return cls(shapely.to_wkb(shapely.normalize(polygon)), all_touched)

    @property
    def content(self) -> dict[str, Any]:
        """Identity of the cut, as plain JSON."""
        return {"polygon": hashlib.sha256(self.wkb).hexdigest(), "all_touched": self.all_touched}

    @property
    def note(self) -> str:
        """Sentence about the cut for the user."""
        rule = "the area touches it" if self.all_touched else "its centre is in the area"
        return f"cut to the area: nodata outside of it; a pixel is inside where {rule}"

    def outside(self, geobox: GeoBox) -> NDArray[np.bool_]:
        """``(rows, cols)`` of a grid: True for pixels outside."""
        parts = shapely.get_parts(shapely.from_wkb(self.wkb))
        # Rasterio reads every vertex that it is given: of thousands of fields, a chunk has a few.
        near = parts[shapely.intersects(shapely.envelope(parts), geobox.pad(1).extent.geom)]
        if not near.size:
            return np.ones(geobox.shape, dtype=bool)
        mask: NDArray[np.bool_] = geometry_mask(list(near), geobox.shape, geobox.affine, all_touched=self.all_touched)
        return mask
