"""A scene on the grid of another CRS: each pixel is computed by itself, so that chunks meet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError, ProjError
from rasterio.windows import Window

from catalog.errors import RequestError, SourceError
from catalog.resample import position_in, sample_cubic
from catalog.sampling import BandSample
from catalog.scene import PixelReader, Pixels, Scene

#: Pixels around a place that cubic convolution reads.
_REACH = 2

#: A grid has at most so many times the pixels of its source: a square that is turned by 45° has twice as many.
_MOST_GROWTH = 6


@dataclass(frozen=True)
class WarpedReader:
    """Bands of a reader, resampled by cubic convolution onto another grid."""

    reader: PixelReader
    source: GeoBox
    """Grid of the reader."""
    target: GeoBox
    """Grid of what is read."""
    dtype: str
    bands: int

    def read(self, window: Window) -> Pixels:
        geobox = self.target[window.toslices()]
        cols, rows = position_in(self.source.affine, self.source.crs, geobox)
        out = np.zeros((self.bands, *cols.shape))
        known = np.zeros(out.shape, dtype=bool)
        at_row, at_col = np.floor(rows).astype(int), np.floor(cols).astype(int)
        height, width = self.source.shape
        inside = (at_row >= 0) & (at_row < height) & (at_col >= 0) & (at_col < width)
        if inside.any():
            top, left = max(0, at_row[inside].min() - _REACH), max(0, at_col[inside].min() - _REACH)
            bottom = min(height, at_row[inside].max() + _REACH + 1)
            right = min(width, at_col[inside].max() + _REACH + 1)
            pixels, valid = self.reader.read(Window(left, top, right - left, bottom - top))
            known[:, inside] = valid[:, at_row[inside] - top, at_col[inside] - left]
            # A weight of 0 does not silence NaN.
            measured = np.where(valid, pixels, pixels.dtype.type(0))
            out[:, inside] = sample_cubic(measured, valid, rows[inside] - top, cols[inside] - left)
        dtype = np.dtype(self.dtype)
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            out = np.rint(out).clip(limits.min, limits.max)
        return out.astype(dtype), known

    def sample(self, window: Window) -> list[BandSample]:
        crs = self.source.crs
        assert crs is not None
        extent = self.target[window.toslices()].extent.to_crs(crs)
        rows, cols = self.source.overlap_roi(self.source.enclosing(extent))
        return self.reader.sample(Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start))

    def select(self, keep: tuple[int, ...]) -> WarpedReader:
        return replace(self, reader=self.reader.select(keep), bands=len(keep))


def warp_scene(scene: Scene, crs: str) -> Scene:
    """Put a scene on a grid of another CRS, with pixels of the same size on the ground.

    Parameters
    ----------
    scene
        Scene with a CRS.
    crs
        CRS of the result, as ``EPSG:32633``.

    Returns
    -------
    Scene
        Resampled scene, with a note that says so; the scene itself where it is in this CRS.

    Raises
    ------
    RequestError
        The text is no CRS of maps, or the CRS does not reach the scene.
    SourceError
        The scene has no CRS.

    """
    target_crs = map_crs(crs)
    if scene.geobox.crs is None:
        raise SourceError(f"{scene.id} has no CRS, so it cannot be put in {crs}: give it its own, gdal_edit.py -a_srs")
    if scene.geobox.crs == target_crs:
        return scene
    try:
        target = scene.geobox.to_crs(target_crs)
    except (ProjError, ValueError, OverflowError) as error:
        raise RequestError(f"{crs} does not reach {scene.id}: {error}") from error
    if target.shape.x * target.shape.y > _MOST_GROWTH * scene.geobox.shape.x * scene.geobox.shape.y:
        raise RequestError(f"{crs} cuts {scene.id} apart or stretches it beyond use: give a CRS that holds it whole")
    if len({band.gsd_m for band in scene.bands}) > 1:
        raise RequestError(
            f"{scene.id} would be resampled, and its bands have several sampling distances: leave --crs out, or ask "
            "for bands of one with --bands"
        )
    return replace(
        scene,
        geobox=target,
        area=Window(0, 0, target.shape.x, target.shape.y),
        reader=WarpedReader(scene.reader, scene.geobox, target, scene.dtype, len(scene.bands)),
        identity={**scene.identity, "warped": target_crs.to_wkt()},
        nodata_declared=True,
        notes=(*scene.notes, f"resampled (cubic) onto the grid of {target_crs}: {scene.id}"),
    )


def map_crs(text: str) -> CRS:
    """Parse a CRS of maps. Raises :class:`RequestError` for what is none."""
    try:
        crs = CRS(text)
    except (CRSError, ValueError) as error:
        raise RequestError(f"not a CRS: {text!r}; give one as EPSG:32633") from error
    if not (crs.projected or crs.geographic):
        raise RequestError(f"{text} is not a CRS of maps: give a projected or geographic one, as EPSG:32633")
    return crs
