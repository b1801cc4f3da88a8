"""Scenes of other dates on the grid of a reference: moved by whole pixels, never resampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rasterio.windows import Window

from catalog.errors import SourceError
from catalog.layers import ItemsReader
from catalog.mosaic import MosaicReader, Part
from catalog.scene import Scene


def on_grid_of(reference: Scene, scene: Scene) -> Scene:
    """Place another date on the grid of the reference, to the nearest pixel, with the reference's bands.

    Raises :class:`SourceError` where that would resample its pixels, a band is missing, or nothing is in common.
    """
    lacking = [name for name in reference.names if name not in scene.names]
    if lacking:
        raise SourceError(
            f"{scene.id} has no band {', '.join(lacking)}, which the reference {reference.id} has: choose common bands "
            "with --bands"
        )
    if scene.plain_image:
        raise SourceError(f"{scene.id} is a plain image, and dates are compared in reflectance")
    own, common = scene.geobox, reference.geobox
    if own.crs != common.crs:
        raise SourceError(
            f"{scene.id} is in {own.crs}, and the reference {reference.id} in {common.crs}: dates of one image share a "
            "CRS, for resampling blurs what they show"
        )
    if not np.allclose(own.affine[:2] + own.affine[3:5], common.affine[:2] + common.affine[3:5], rtol=1e-6, atol=0):
        raise SourceError(
            f"{scene.id} has pixels of another size than the reference {reference.id}: dates of one image share a grid"
        )
    check_as_taken(scene)
    col, row = (round(value) for value in ~common.affine * (own.affine.c, own.affine.f))
    area = reference.area
    apart = (
        col >= area.col_off + area.width
        or row >= area.row_off + area.height
        or col + own.shape.x <= area.col_off
        or row + own.shape.y <= area.row_off
    )
    if apart:
        raise SourceError(f"{scene.id} shows none of the ground of the reference {reference.id}")
    scene = scene.take(tuple(scene.names.index(name) for name in reference.names))
    part = Part(scene.reader, Window(col, row, own.shape.x, own.shape.y))
    return replace(scene, geobox=common, area=area, reader=MosaicReader((part,), scene.dtype, len(scene.bands)))


def check_as_taken(scene: Scene) -> None:
    """Refuse Items that would be resampled. Raises :class:`SourceError`."""
    if isinstance(scene.reader, ItemsReader) and not all(layer.aligned for layer in scene.reader.layers):
        raise SourceError(f"{scene.id} would be resampled, which blurs what dates show: take an area in one UTM zone")
