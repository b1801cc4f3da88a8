"""Checks of an order against the scenes that it names, before a job is made of it."""

from __future__ import annotations

from itertools import pairwise

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from catalog import CatalogError
from catalog.area import window_of
from geosr.errors import GeosrError
from geosr.service.context import Context
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.orders import JobInputs
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem
from geosr.service.security.api_keys import Caller
from tiling import crop, whole

#: Share of a pixel by which two grids may be apart and still be one.
_ALIKE_PX = 0.01


def check_order(inputs: JobInputs, context: Context, caller: Caller) -> None:
    """Refuse an area outside a scene that is named, and two scenes that do not lie on one grid.

    Raises :class:`catalog.AreaError`, or :class:`Problem`.
    """
    # Further dates that do not fit their reference are left out.
    judged = inputs.scenes[:1] if isinstance(inputs, UpscaleInputs) else inputs.scenes
    if not judged or (inputs.area is None and len(judged) == 1):
        return
    try:
        scenes = [context.scenes.get(one, caller) for one in judged]
    except (CatalogError, GeosrError):
        # They are opened for the service's model: the job's may fit where that does not.
        return
    parts = [_part_of(scene, inputs.area) for scene in scenes]
    for (one, other), (part, other_part) in zip(pairwise(scenes), pairwise(parts), strict=True):
        if part.crs != other_part.crs or not _alike(part, other_part):
            raise Problem(
                409,
                f"{one.title} and {other.title} are not on one grid: give two dates of one tile, or one crop of both",
            )
        if part.shape != other_part.shape or _offset_px(part, other_part) > _ALIKE_PX:
            raise Problem(
                409, f"{one.title} and {other.title} do not cover the same ground: give a bbox that lies in both"
            )


def _part_of(live: LiveScene, area: BaseGeometry | None) -> GeoBox:
    geobox = live.scene.geobox
    window = whole(geobox) if area is None else window_of(area, geobox, f"scene {live.id}")
    return crop(geobox, window)


def _alike(one: GeoBox, other: GeoBox) -> bool:
    """Tell whether pixels of two grids are of one size, and lie on each other or next to each other."""
    first, second = one.affine, other.affine
    if any(abs(getattr(first, name) - getattr(second, name)) > 1e-6 * abs(first.a) for name in "abde"):
        return False
    col, row = ~first * (second.c, second.f)
    return bool(max(abs(col - round(col)), abs(row - round(row))) <= _ALIKE_PX)


def _offset_px(one: GeoBox, other: GeoBox) -> float:
    col, row = ~one.affine * (other.affine.c, other.affine.f)
    return float(max(abs(col), abs(row)))
